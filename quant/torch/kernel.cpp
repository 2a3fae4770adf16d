// Fake-quantisation in one pass over memory: what rounding.py does, for the processor alone.
//
// Every operation is the one IEEE 754 defines, in the order written: contraction is off, and
// nothing is reassociated. Results are those of the PyTorch operations bit for bit.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <thread>
#include <vector>

static_assert(FLT_EVAL_METHOD == 0, "floats must be computed in their own precision");

#define EXPORT extern "C" __attribute__((visibility("default")))
#define INLINE inline __attribute__((always_inline))
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif

namespace {

template <class Float> struct Bits;
template <> struct Bits<float> {
    using Integer = int32_t;
    static constexpr Integer exponent = 0x7F800000, exponent_pair = 0x7F000000;
};
template <> struct Bits<double> {
    using Integer = int64_t;
    static constexpr Integer exponent = 0x7FF0000000000000, exponent_pair = 0x7FE0000000000000;
};

// The fields of Steps in steps.py.
template <class Float> struct Steps {
    Float least, greatest, gain, low, high, shift;
    int32_t slope, alternate;
};

// Element i belongs to scale[i / inner % channels].
struct Layout {
    int64_t elements, channels, inner, threads;
};

enum Kind { uniform, halves, linear, alternating, square };

template <class Float> INLINE Float masked(Float y, typename Bits<Float>::Integer mask) {
    typename Bits<Float>::Integer bits;
    std::memcpy(&bits, &y, sizeof bits);
    bits &= mask;
    std::memcpy(&y, &bits, sizeof bits);
    return y;
}

template <Kind kind, class Float> INLINE Float rounded(Float y, const Steps<Float>& steps) {
    y = y < steps.least ? steps.least : y;
    y = y > steps.greatest ? steps.greatest : y;
    Float constant = steps.low;
    if constexpr (kind == halves) {
        Float level = std::fabs(y) - steps.shift + constant - constant + steps.shift;
        return std::copysign(level, y + Float(0));
    }
    if constexpr (kind != uniform) {
        Float power = masked(y, Bits<Float>::exponent);
        constant = (kind == square ? power * power : power) * steps.gain;
        if constexpr (kind == alternating)
            constant += masked(y, Bits<Float>::exponent_pair);
        constant = constant < steps.low ? steps.low : constant;
        constant = constant > steps.high ? steps.high : constant;
    }
    return y + constant - constant;
}

// How runs of elements are rounded; their scale is one number, or one for each where `each`. The
// result tells whether there is a NaN.
template <Kind kind, class Float> struct ToSteps {
    Steps<Float> steps;

    template <bool each>
    INLINE int run(const Float* __restrict x, const Float* __restrict scale,
                   Float* __restrict out, int64_t count) const {
        int nan = 0;
        const Steps<Float> constants = steps;
        const Float factor = *scale;
        for (int64_t i = 0; i < count; ++i) {
            const Float s = each ? scale[i] : factor;
            const Float y = x[i] / s;
            nan |= y != y;
            out[i] = rounded<kind>(y, constants) * s;
        }
        return nan;
    }
};

// Values in increasing order, and below each change the largest number of the one before. Every
// threshold is compared with a block of elements at a time: a search would not become vectors.
template <class Float> struct ToLevels {
    const Float *thresholds, *values;
    int64_t count;

    template <bool each>
    INLINE int run(const Float* __restrict x, const Float* __restrict scale,
                   Float* __restrict out, int64_t elements) const {
        constexpr int64_t block = 64;
        int nan = 0;
        for (int64_t i = 0; i < elements; i += block) {
            const int64_t length = std::min(block, elements - i);
            Float y[block] = {}, level[block];
            for (int64_t j = 0; j < length; ++j) {
                y[j] = x[i + j] / (each ? scale[i + j] : *scale);
                nan |= y[j] != y[j];
            }
            for (int64_t j = 0; j < block; ++j) level[j] = values[0];
            for (int64_t t = 0; t < count; ++t) {
                const Float threshold = thresholds[t], value = values[t + 1];
                for (int64_t j = 0; j < block; ++j) level[j] = y[j] > threshold ? value : level[j];
            }
            for (int64_t j = 0; j < length; ++j)
                out[i + j] = level[j] * (each ? scale[i + j] : *scale);
        }
        return nan;
    }
};

template <bool each, class Float>
INLINE void mask_run(Float least, Float greatest, const Float* __restrict grad,
                     const Float* __restrict x, const Float* __restrict scale,
                     Float* __restrict out, int64_t count) {
    const Float factor = *scale;
    for (int64_t i = 0; i < count; ++i) {
        const Float y = x[i] / (each ? scale[i] : factor);
        out[i] = (y >= least) & (y <= greatest) ? grad[i] : Float(0);
    }
}

// A stretch of elements that lie in one row of scales or share one scale.
struct Run {
    int64_t count, scale;
};

INLINE Run run_at(const Layout& layout, int64_t element, int64_t end) {
    const int64_t length = layout.inner == 1 ? layout.channels : layout.inner;
    const int64_t line = element / length, first = line * length;
    const int64_t scale = layout.inner == 1 ? element - first : line % layout.channels;
    return {std::min(end, first + length) - element, scale};
}

template <class Rule, class Float>
INLINE int round_part(const Rule& rule, const Layout& layout, int64_t begin, int64_t end,
                      const Float* x, const Float* scale, Float* out) {
    int nan = 0;
    for (int64_t i = begin; i < end;) {
        const Run run = run_at(layout, i, end);
        const Float* s = scale + run.scale;
        nan |= layout.inner == 1 ? rule.template run<true>(x + i, s, out + i, run.count)
                                 : rule.template run<false>(x + i, s, out + i, run.count);
        i += run.count;
    }
    return nan;
}

template <Kind kind, class Float>
INLINE int round_kind(const Steps<Float>& steps, const Layout& layout, int64_t begin, int64_t end,
                      const Float* x, const Float* scale, Float* out) {
    return round_part(ToSteps<kind, Float>{steps}, layout, begin, end, x, scale, out);
}

template <class Float>
INLINE int round_any(const Steps<Float>& steps, const Layout& layout, int64_t begin, int64_t end,
                     const Float* x, const Float* scale, Float* out) {
    if (steps.shift != 0) return round_kind<halves>(steps, layout, begin, end, x, scale, out);
    if (steps.alternate) return round_kind<alternating>(steps, layout, begin, end, x, scale, out);
    switch (steps.slope) {
        case 0: return round_kind<uniform>(steps, layout, begin, end, x, scale, out);
        case 1: return round_kind<linear>(steps, layout, begin, end, x, scale, out);
        default: return round_kind<square>(steps, layout, begin, end, x, scale, out);
    }
}

template <class Float>
INLINE void mask_any(Float least, Float greatest, const Layout& layout, int64_t begin,
                     int64_t end, const Float* grad, const Float* x, const Float* scale,
                     Float* out) {
    for (int64_t i = begin; i < end;) {
        const Run run = run_at(layout, i, end);
        const Float* s = scale + run.scale;
        if (layout.inner == 1)
            mask_run<true>(least, greatest, grad + i, x + i, s, out + i, run.count);
        else
            mask_run<false>(least, greatest, grad + i, x + i, s, out + i, run.count);
        i += run.count;
    }
}

// Calls part(thread, begin, end) for each thread's share. Threads are made for the call, so that a
// forked process has nothing to miss; where the system gives none, the caller does their share.
template <class Part> void share(const Layout& layout, Part part) {
    const int64_t unit = 64;  // no two threads write one cache line
    const int64_t units = (layout.elements + unit - 1) / unit;
    std::vector<std::thread> pool;
    const auto begin = [&](int64_t t) {
        return std::min(layout.elements, units * t / layout.threads * unit);
    };
    for (int64_t t = 1; t < layout.threads; ++t) {
        try {
            pool.emplace_back(part, t, begin(t), begin(t + 1));
        } catch (const std::system_error&) {
            part(t, begin(t), begin(t + 1));
        }
    }
    part(0, 0, begin(1));
    for (auto& thread : pool) thread.join();
}

// Calls part(begin, end), which tells of NaN, on all threads; returns whether any did.
template <class Part> int any_of(const Layout& layout, Part part) {
    std::vector<int> nan(layout.threads);
    share(layout, [&](int64_t thread, int64_t begin, int64_t end) {
        nan[thread] = part(begin, end);
    });
    return *std::max_element(nan.begin(), nan.end());
}

}  // namespace

// For each type: round and search, which return whether x has a NaN, and mask, which lets the
// gradient pass where x / scale lies within the range. The loops are compiled for several
// processors.
#define DEFINE(Float)                                                                              \
    CLONES static int round_##Float(const Steps<Float>& steps, const Layout& layout,               \
                                    int64_t begin, int64_t end, const Float* x,                    \
                                    const Float* scale, Float* out) {                              \
        return round_any(steps, layout, begin, end, x, scale, out);                                \
    }                                                                                              \
    CLONES static int search_##Float(const ToLevels<Float>& levels, const Layout& layout,          \
                                     int64_t begin, int64_t end, const Float* x,                   \
                                     const Float* scale, Float* out) {                             \
        return round_part(levels, layout, begin, end, x, scale, out);                              \
    }                                                                                              \
    CLONES static void mask_##Float(Float least, Float greatest, const Layout& layout,             \
                                    int64_t begin, int64_t end, const Float* grad, const Float* x, \
                                    const Float* scale, Float* out) {                              \
        mask_any(least, greatest, layout, begin, end, grad, x, scale, out);                        \
    }                                                                                              \
    EXPORT int dybit_round_##Float(const Steps<Float>* steps, const Layout* layout,                \
                                   const Float* x, const Float* scale, Float* out) {               \
        return any_of(*layout, [&](int64_t begin, int64_t end) {                                   \
            return round_##Float(*steps, *layout, begin, end, x, scale, out);                      \
        });                                                                                        \
    }                                                                                              \
    EXPORT int dybit_search_##Float(const Float* thresholds, const Float* values, int64_t count,   \
                                    const Layout* layout, const Float* x, const Float* scale,      \
                                    Float* out) {                                                  \
        const ToLevels<Float> levels{thresholds, values, count};                                   \
        return any_of(*layout, [&](int64_t begin, int64_t end) {                                   \
            return search_##Float(levels, *layout, begin, end, x, scale, out);                     \
        });                                                                                        \
    }                                                                                              \
    EXPORT void dybit_mask_##Float(Float least, Float greatest, const Layout* layout,              \
                                   const Float* grad, const Float* x, const Float* scale,          \
                                   Float* out) {                                                   \
        share(*layout, [&](int64_t, int64_t begin, int64_t end) {                                  \
            mask_##Float(least, greatest, *layout, begin, end, grad, x, scale, out);               \
        });                                                                                        \
    }

DEFINE(float)
DEFINE(double)
