// Layers of RTNeural with their sizes fixed at compile time, as C functions; with_rtneural.py says how it is built.
//
//   load_lstm_I_H(kernel, recurrent, bias)   I·4H, H·4H and 4H numbers, gates i f c o; the GRU's gates are z r h, and
//                                            its bias is 2·3H numbers
//   run_lstm_I_H(x, y, steps)                from a state of zeros; x is (steps, I), y is (steps, H)

#define RTNEURAL_USE_XSIMD 1
#ifdef __AVX512F__
#define RTNEURAL_DEFAULT_ALIGNMENT 64
#elif defined __AVX__
#define RTNEURAL_DEFAULT_ALIGNMENT 32
#else
#define RTNEURAL_DEFAULT_ALIGNMENT 16
#endif
#include <RTNeural/RTNeural.h>

#include <cstring>
#include <vector>

using Rows = std::vector<std::vector<float>>;

static Rows rows(const float* values, int count, int width)
{
    Rows made;
    for (int k = 0; k < count; k++)
        made.emplace_back(values + k * width, values + (k + 1) * width);
    return made;
}

template <int I, int H, class Layer>
struct Net {
    RTNeural::ModelT<float, I, H, Layer> model;
    alignas(RTNEURAL_DEFAULT_ALIGNMENT) float input[(I + 15) / 16 * 16] = {};   // whole vectors are read

    void run(const float* x, float* y, long steps)
    {
        model.reset();
        for (long t = 0; t < steps; t++) {
            std::memcpy(input, x + t * I, I * sizeof(float));
            model.forward(input);
            std::memcpy(y + t * H, model.getOutputs(), H * sizeof(float));
        }
    }
};

#define ONE(name, Layer, I, H, GATES, BIAS)                                                                \
    static Net<I, H, RTNeural::Layer<float, I, H>>& name##_##I##_##H()                                     \
    {                                                                                                      \
        static Net<I, H, RTNeural::Layer<float, I, H>> net;                                                \
        return net;                                                                                        \
    }                                                                                                      \
    extern "C" void load_##name##_##I##_##H(const float* kernel, const float* recurrent, const float* bias) \
    {                                                                                                      \
        auto& layer = name##_##I##_##H().model.template get<0>();                                          \
        layer.setWVals(rows(kernel, I, GATES * H));                                                        \
        layer.setUVals(rows(recurrent, H, GATES * H));                                                     \
        layer.setBVals(BIAS);                                                                              \
    }                                                                                                      \
    extern "C" void run_##name##_##I##_##H(const float* x, float* y, long steps)                           \
    {                                                                                                      \
        name##_##I##_##H().run(x, y, steps);                                                               \
    }

#define BOTH(I, H)                                                                        \
    ONE(lstm, LSTMLayerT, I, H, 4, std::vector<float>(bias, bias + 4 * H))                \
    ONE(gru, GRULayerT, I, H, 3, rows(bias, 2, 3 * H))

SIZES
