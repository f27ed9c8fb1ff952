/* The cell types, and the table of kernels that dispatch.c hands out.
 * A new cell type is one header of equations and one row here, and its description in rnncore/recurrent/descriptions. */
#include "lstm.h"
#include "gru.h"
#include "rnn.h"

static const rnn_cell FN(cells)[] = {
    {.name = "lstm", .gates = 4, .slots = 4, .keep = 1, .states = 2, .x_slot = 0,
     .x_order = {0, 1, 2, 3}, .h_order = {0, 1, 2, 3}, .stages = 1,
     .stage = {{.slot = 0, .groups = 4, .forward = FN(lstm_forward), .backward = FN(lstm_backward)}}},
    {.name = "gru", .gates = 3, .slots = 4, .keep = 1, .states = 1, .x_slot = 0,
     .x_order = {2, 0, 1}, .h_order = {0, 1, 2}, .stages = 1,
     .stage = {{.slot = 1, .groups = 3, .forward = FN(gru_after_forward), .backward = FN(gru_after_backward)}}},
    {.name = "gru_reset_before", .gates = 3, .slots = 4, .keep = 1, .states = 1, .x_slot = 0,
     .x_order = {2, 0, 1}, .h_order = {0, 1, 2}, .stages = 2,
     .stage = {{.slot = 1, .groups = 2, .forward = FN(gru_reset_forward), .backward = FN(gru_reset_backward)},
               {.slot = 3, .groups = 1, .from_aux = 1, .forward = FN(gru_before_forward), .backward = FN(gru_before_backward)}}},
#define RNN_ROW(phi)                                                                                \
    {.name = "rnn_" #phi, .gates = 1, .slots = 1, .states = 1, .stages = 1,                         \
     .stage = {{.groups = 1, .forward = FN(rnn_##phi##_forward), .backward = FN(rnn_##phi##_backward)}}}
    RNN_ROW(tanh), RNN_ROW(relu), RNN_ROW(sigmoid),
#undef RNN_ROW
    {.name = NULL},
};

const rnn_kernels FN(rnn_kernels) = {
    .isa = ISA_NAME, .bits = REAL, .lanes = LANES, .tile_rows = MAX_ROWS(4),
    .pack_size = FN(pack_size), .pack = FN(pack), .pack_rows = FN(pack_rows),
    .product = FN(product), .outer = FN(outer), .column_sums = FN(column_sums),
    .activation = FN(activation), .cells = FN(cells),
};
