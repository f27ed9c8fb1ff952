/* The types of cells, and the table of kernels that dispatch.c hands out.
 * A new type of cell is one header of equations, its #include and one row here, and its description in
 * rnncore/recurrent/descriptions. */
#include "lstm.h"
#include "gru.h"
#include "rnn.h"
#include "activations.h"
#include "lstm_variant.h"
#include "gru_variant.h"
#include "rnn_variant.h"

/* The page computes one step at a time, and is smaller without the functions of many. */
#if defined(__wasm__)
#define STEPS(f) (0 ? (f) : NULL)
#else
#define STEPS(f) (f)
#endif

static const rc_cell cells[] = {
    {.name = "lstm", .blocks = 4, .slots = 4, .slots_on_tape = 1, .states = 2, .x_slot = 0,
     .x_order = {0, 1, 2, 3}, .h_order = {0, 1, 2, 3}, .stages = 1, .steps = STEPS(lstm_steps),
     .stage = {{.slot = 0, .groups = 4, .forward = lstm_forward, .backward = lstm_backward,
                .variant_forward = lstm_variant_forward, .variant_backward = lstm_variant_backward}}},
    {.name = "gru", .blocks = 3, .slots = 4, .slots_on_tape = 1, .states = 1, .x_slot = 0,
     .x_order = {2, 0, 1}, .h_order = {0, 1, 2}, .stages = 1, .steps = STEPS(gru_after_steps),
     .stage = {{.slot = 1, .groups = 3, .forward = gru_after_forward, .backward = gru_after_backward,
                .variant_forward = gru_after_variant_forward, .variant_backward = gru_after_variant_backward}}},
    {.name = "gru_reset_before", .blocks = 3, .slots = 4, .slots_on_tape = 1, .states = 1, .x_slot = 0,
     .x_order = {2, 0, 1}, .h_order = {0, 1, 2}, .stages = 2,
     .stage = {{.slot = 1, .groups = 2, .forward = gru_before_gates_forward, .backward = gru_before_gates_backward,
                .variant_forward = gru_before_gates_variant_forward,
                .variant_backward = gru_before_gates_variant_backward},
               {.slot = 3, .groups = 1, .from_aux = 1, .forward = gru_before_candidate_forward,
                .backward = gru_before_candidate_backward,
                .variant_forward = gru_before_candidate_variant_forward,
                .variant_backward = gru_before_candidate_variant_backward}}},
    {.name = "rnn_tanh", .blocks = 1, .slots = 1, .states = 1, .stages = 1,
     .stage = {{.groups = 1, .forward = rnn_tanh_forward, .backward = rnn_tanh_backward,
                .variant_forward = rnn_variant_forward, .variant_backward = rnn_variant_backward}}},
    {.name = "rnn_relu", .blocks = 1, .slots = 1, .states = 1, .stages = 1,
     .stage = {{.groups = 1, .forward = rnn_relu_forward, .backward = rnn_relu_backward,
                .variant_forward = rnn_variant_forward, .variant_backward = rnn_variant_backward}}},
    {.name = "rnn_sigmoid", .blocks = 1, .slots = 1, .states = 1, .stages = 1,
     .stage = {{.groups = 1, .forward = rnn_sigmoid_forward, .backward = rnn_sigmoid_backward,
                .variant_forward = rnn_variant_forward, .variant_backward = rnn_variant_backward}}},
    {.name = NULL},
};

const rc_kernels KERNELS = {
    .isa = ISA_NAME, .bits = REAL, .lanes = LANES, .tile_rows = MAX_ROWS(STRIP(RC_PANEL_VECTORS)),
    .pack_size = pack_size, .pack = pack, .pack_rows = pack_rows, .copy_rows = copy_rows,
    .product = product, .product_again = product_again, .product_of_two = product_of_two,
    .weight_gradient = weight_gradient, .column_sums = column_sums,
    .add_to_total = add_to_total, .round_total = round_total,
    .cross_entropy = cross_entropy, .sgd = sgd, .adam = adam, .sum_of_squares = sum_of_squares, .scale = scale,
    .sum_rows = sum_rows, .projected_backward = projected_backward,
    .sigmoid = sigmoid_array, .tanh = tanh_array, .activation = activation_array, .cells = cells,
#if REAL == 64
    .hidden_markov = &hidden_markov,
#endif
};
