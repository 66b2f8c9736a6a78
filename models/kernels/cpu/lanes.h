// Vectors of LANES float32 numbers (compiler extension of gcc and clang: any instruction set), and their exp2 and erf.
#pragma once
#include <cstdint>
#include <cstring>

#ifndef HVR_LANES
#if defined(__AVX512F__)
#define HVR_LANES 16
#elif defined(__AVX__)
#define HVR_LANES 8
#else
#define HVR_LANES 4
#endif
#endif

#define UNROLL _Pragma("GCC unroll 16")
#if defined(__AVX512F__) || (defined(__AVX__) && HVR_LANES <= 8)
#define IN_REGISTER(v) __asm__("" : "+x"(v))
#else
#define IN_REGISTER(v) (void)(v)
#endif

namespace hvr {

constexpr int LANES = HVR_LANES;
typedef float V __attribute__((vector_size(LANES * 4)));
typedef int32_t VI __attribute__((vector_size(LANES * 4)));
typedef double VD __attribute__((vector_size(LANES * 8)));
typedef float Unaligned __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

inline V load(const float* p) { return *reinterpret_cast<const Unaligned*>(p); }
inline void store(float* p, V v) { *reinterpret_cast<Unaligned*>(p) = v; }
inline V all(float s) { return s - V{}; }
inline V max(V a, V b) { return a > b ? a : b; }
inline V min(V a, V b) { return a < b ? a : b; }
inline V leaky(V v) { return max(v, v * 0.01f); }

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define HVR_SHUFFLES
#endif
#endif

// The sum of all lanes, by halves: what stands alone is a chain of LANES additions.
inline float sum(V v) {
#if defined(HVR_SHUFFLES) && HVR_LANES == 16
    v += __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
    v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    v += __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
    return v[0];
#elif defined(HVR_SHUFFLES) && HVR_LANES == 8
    v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3);
    v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5);
    v += __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6);
    return v[0];
#else
    float s = 0;
    for (int i = 0; i < LANES; i++) s += v[i];
    return s;
#endif
}

inline long round_up(long n, long multiple) { return (n + multiple - 1) / multiple * multiple; }

inline V square_root(V v) {
    V r;
    for (int i = 0; i < LANES; i++) r[i] = __builtin_sqrtf(v[i]);
    return r;
}

// 2^x for x <= 0, relative error below 2.5e-7; 0 for x < -126: products with the numbers there would be subnormal, which many
// processors compute a hundred times slower, and masked similarities are all there.
inline V exp2(V x) {
    const V magic = all(12582912.f);  // 1.5 * 2^23: adding it rounds to an integer held in the low bits
    const VI tiny = x < all(-126.f);
    x = max(x, all(-126.f));
    V t = x + magic;
    V f = x - (t - magic);            // in [-1/2, 1/2]
    V p = all(1.327646686e-3f);
    p = p * f + 9.675541293e-3f;
    p = p * f + 5.550713289e-2f;
    p = p * f + 2.402211972e-1f;
    p = p * f + 6.931469671e-1f;
    p = p * f + 1.000000072f;
    VI bits;
    std::memcpy(&bits, &t, sizeof bits);
    VI value;
    std::memcpy(&value, &p, sizeof value);
    value += bits << 23;
    std::memcpy(&p, &value, sizeof p);
    return tiny ? V{} : p;
}

// The error function, absolute error below 5e-7 (rational approximation on [-4, 4]).
inline V erf(V x) {
    x = max(min(x, all(4.f)), all(-4.f));
    V s = x * x;
    V p = all(-2.72614225801306e-10f);
    p = p * s + 2.77068142495902e-08f;
    p = p * s - 2.10102402082508e-06f;
    p = p * s - 5.69250639462346e-05f;
    p = p * s - 7.34990630326855e-04f;
    p = p * s - 2.95459980854025e-03f;
    p = p * s - 1.60960333262415e-02f;
    V q = all(-1.45660718464996e-05f);
    q = q * s - 2.13374055278905e-04f;
    q = q * s - 1.68282697438203e-03f;
    q = q * s - 7.37332916720468e-03f;
    q = q * s - 1.42647390514189e-02f;
    return x * p / q;
}

inline V gelu(V x) { return 0.5f * x * (1.f + erf(x * 0.70710678f)); }

}  // namespace hvr
