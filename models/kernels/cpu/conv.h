// 3x3 convolution of a whole map by bands of rows, with its input made on the fly and its output's statistics taken.
// Four output rows at once from six input rows: Winograd's F(4, 3) along y (Lavin & Gray, CVPR 2016), which needs half
// the multiplications; along x plainly. Points 0, 1, -1, 1/2, -2, infinity.
#pragma once
#include "rows.h"
#include "team.h"

namespace hvr {

constexpr int ROWS = 4, POINTS = 6;    // output rows at once; rows of input, and of products
constexpr int TILE = 2 * MAX_NV * LANES;  // pixels transformed at once

struct Conv {
    int in, out;
    const float* w;     // [point][out/4][in][3][4]
    const float* bias;  // [out] or null
};

inline long packed_conv(int in, int out) { return (long)POINTS * out * in * 3; }

// w [out][in][3][3] -> the products' weights, G w along y.
inline void pack_conv(const float* w, int in, int out, float* to) {
    static const double G[POINTS][3] = {{1, 0, 0}, {1 / 3., 1 / 3., 1 / 3.}, {-1 / 3., 1 / 3., -1 / 3.},
                                        {-16 / 15., -8 / 15., -4 / 15.}, {1 / 15., -2 / 15., 4 / 15.}, {0, 0, 1}};
    for (int p = 0; p < POINTS; p++)
        for (int o = 0; o < out; o++)
            for (int c = 0; c < in; c++)
                for (int k = 0; k < 3; k++) {
                    const float* column = w + ((long)o * in + c) * 9 + k;
                    double sum = G[p][0] * column[0] + G[p][1] * column[3] + G[p][2] * column[6];
                    to[((((long)p * (out / OC) + o / OC) * in + c) * 3 + k) * OC + o % OC] = (float)sum;
                }
}

// Six input rows at `row[r]` -> the six factors of the products, at to + r * step.
inline void transform_input(const float* const row[POINTS], float* to, long step) {
    V a = load(row[0]), b = load(row[1]), c = load(row[2]), d = load(row[3]), e = load(row[4]), f = load(row[5]);
    V ec = e - c, db = 2.f * (d - b);
    store(to, a + 1.5f * (d - b) - 2.f * c + e);
    store(to + step, e + 2.5f * d + 0.5f * c - b);
    store(to + 2 * step, e + 0.5f * d - 2.5f * c + b);
    store(to + 3 * step, ec + db);
    store(to + 4 * step, ec - 0.25f * db);
    store(to + 5 * step, b + 1.5f * (e - c) - 2.f * d + f);
}

// Six products -> four output rows.
inline void transform_output(const float* m, long step, V out[ROWS]) {
    V m0 = load(m), m1 = load(m + step), m2 = load(m + 2 * step), m3 = load(m + 3 * step), m4 = load(m + 4 * step);
    V s = m1 + m2, d = m1 - m2;
    out[0] = m0 + s + m3 + m4;
    out[1] = d + 0.5f * m3 - 2.f * m4;
    out[2] = s + 0.25f * m3 + 4.f * m4;
    out[3] = d + 0.125f * m3 - 8.f * m4 + load(m + 5 * step);
}

struct Stage {
    const Source* sources;
    int source_count;
    Conv conv;
    Map out;
    bool in_place;         // out is map a of the first source
    const Map* add[2];     // maps added to the result, or null
    double* statistics;    // [band][out][2]: sums of values and of squares, or null

    int in_H() const { return out.H; }
};

inline int band_rows(int H) {
    long rows = round_up((H + 63) / 64, ROWS);
    return (int)(rows < 2 * ROWS ? 2 * ROWS : rows);
}

inline int band_count(int H) { return (H + band_rows(H) - 1) / band_rows(H); }

// Floats of scratch memory of one thread for a convolution.
inline long conv_scratch(int in, int out, int W) {
    return POINTS * (in * (row_pitch(W) + TILE + LANES) + (long)out * MAX_NV * LANES) + row_scratch(W) + LANES;
}

class BandConv {
  public:
    BandConv(const Stage& s, int band, const float* kept, float* scratch)
        : s(s), pitch(row_pitch(s.out.W)), first(band * band_rows(s.out.H)), band(band), kept(kept) {
        end = first + band_rows(s.out.H);
        if (end > s.out.H) end = s.out.H;
        ring = scratch;
        tile = ring + POINTS * s.conv.in * pitch;
        products = tile + POINTS * s.conv.in * (TILE + LANES);
        row_memory = products + (long)POINTS * s.conv.out * MAX_NV * LANES;
    }

    void run() {
        int made = first - 1;
        for (int y = first; y < end; y += ROWS) {
            for (; made <= y + ROWS; made++) make(made);
            for (int x = 0; x < s.out.W; x += TILE) {
                const int vectors = (int)((round_up(s.out.W, LANES) - x) / LANES);
                const int count = vectors < TILE / LANES ? vectors : TILE / LANES;
                transform(y, x, count + 1);
                in_runs(count, [&](int start, auto nv) { block<decltype(nv)::value>(y, x, start); });
            }
        }
    }

  private:
    const Stage& s;
    const long pitch;
    const int first, band;
    int end;
    const float* kept;  // the in-place map's rows first - 1 and end, as they were
    float *ring, *tile, *products, *row_memory;

    float* slot(int y) { return ring + (y + POINTS) % POINTS * s.conv.in * pitch; }

    void make(int y) {
        float* to = slot(y);
        if (y < 0 || y >= s.out.H) {
            std::memset(to, 0, s.conv.in * pitch * sizeof(float));
            return;
        }
        for (int i = 0; i < s.source_count; i++) {
            const float* from = nullptr;
            if (s.in_place && i == 0 && y < first) from = kept;
            if (s.in_place && i == 0 && y >= end) from = kept + s.out.C * s.out.stride;
            make_row(s.sources[i], y, from, to, pitch, row_memory);
            to += s.sources[i].channels() * pitch;
        }
    }

    void transform(int y, int x, int vectors) {
        const float* row[POINTS];
        const long step = (long)s.conv.in * (TILE + LANES);
        for (int c = 0; c < s.conv.in; c++) {
            for (int r = 0; r < POINTS; r++) row[r] = slot(y - 1 + r) + c * pitch + LANES + x - 1;
            for (int i = 0; i < vectors; i++) {
                transform_input(row, tile + c * (TILE + LANES) + i * LANES, step);
                for (int r = 0; r < POINTS; r++) row[r] += LANES;
            }
        }
    }

    template <int NV>
    void block(int y, int x, int start) {
        const int in = s.conv.in, out = s.conv.out;
        const long step = (long)out * MAX_NV * LANES;
        for (int p = 0; p < POINTS; p++)
            for (int o = 0; o < out; o += OC) {
                V acc[OC][NV];
                multiply<NV, 3>(tile + (long)p * in * (TILE + LANES) + start * LANES, TILE + LANES, in,
                                s.conv.w + ((long)p * out + o) * in * 3, acc);
                for (int j = 0; j < OC; j++)
                    for (int i = 0; i < NV; i++) store(products + p * step + ((o + j) * MAX_NV + i) * LANES, acc[j][i]);
            }
        for (int i = 0; i < NV; i++) finish(y, x + (start + i) * LANES, i);
    }

    // Products of one vector of pixels -> output rows, with what is added to them, and their statistics.
    void finish(int y, int x, int i) {
        const long step = (long)s.conv.out * MAX_NV * LANES;
        const int rows = end - y < ROWS ? end - y : ROWS;
        V inside;
        for (int l = 0; l < LANES; l++) inside[l] = x + l < s.out.W ? 1.f : 0.f;
        for (int o = 0; o < s.conv.out; o++) {
            V value[ROWS], sum = {}, squares = {};
            transform_output(products + (o * MAX_NV + i) * LANES, step, value);
            const long at = o * s.out.stride + x;
            for (int r = 0; r < rows; r++) {
                if (s.conv.bias) value[r] += s.conv.bias[o];
                for (const Map* map : s.add)
                    if (map) value[r] += load(map->row(y + r) + at);
                put(s.out.row(y + r) + at, value[r], x);
                value[r] *= inside;
                sum += value[r];
                squares += value[r] * value[r];
            }
            if (s.statistics) add_statistics(o, sum, squares);
        }
    }

    // One vector of the output at pixel x: no further than the row's end where the next row follows at once.
    void put(float* to, V value, int x) const {
        if (s.out.planes && x + LANES > s.out.W)
            std::memcpy(to, &value, (s.out.W - x) * sizeof(float));
        else
            store(to, value);
    }

    void add_statistics(int o, V sum, V squares) {
        double a = 0, b = 0;
        for (int l = 0; l < LANES; l++) a += sum[l], b += squares[l];
        double* to = s.statistics + ((long)band * s.conv.out + o) * 2;
        to[0] += a, to[1] += b;
    }
};

// The rows next to each band of a map that is about to be overwritten: [band][2][C][stride].
inline void keep_rows(const Map& map, int band, float* kept) {
    const int first = band * band_rows(map.H), end = first + band_rows(map.H);
    const long size = map.C * map.stride;
    kept += band * 2 * size;
    if (first > 0) std::memcpy(kept, map.row(first - 1), size * sizeof(float));
    if (end < map.H) std::memcpy(kept + size, map.row(end), size * sizeof(float));
}

// All bands of a convolution, shared by the team. `kept` has room for keep_rows where the stage works in place.
// `last` runs once at the end.
template <class Last>
inline void run_stage(const Stage& s, Team& team, float* kept, float* scratch, Last last) {
    const int bands = band_count(s.out.H);
    if (s.in_place) team.share(bands, [&](int band) { keep_rows(s.out, band, kept); });
    team.share(
        bands,
        [&](int band) {
            if (s.statistics) std::memset(s.statistics + (long)band * s.conv.out * 2, 0, s.conv.out * 2 * sizeof(double));
            BandConv(s, band, s.in_place ? kept + band * 2 * s.out.C * s.out.stride : nullptr, scratch).run();
        },
        last);
}

// The statistics of all bands -> the GroupNorm's factor and offset per channel (eps 1e-5).
inline void group_norm(const double* statistics, const Map& map, int groups, const Affine& a, float* scale, float* shift) {
    const int each = map.C / groups;
    for (int g = 0; g < groups; g++) {
        double sum = 0, squares = 0;
        const double count = (double)each * map.H * map.W;
        for (int band = 0; band < band_count(map.H); band++)
            for (int c = g * each; c < (g + 1) * each; c++) {
                const double* s = statistics + ((long)band * map.C + c) * 2;
                sum += s[0], squares += s[1];
            }
        const double mean = sum / count, variance = squares / count - mean * mean;
        const double rate = 1 / __builtin_sqrt((variance > 0 ? variance : 0) + 1e-5);
        for (int c = g * each; c < (g + 1) * each; c++) {
            scale[c] = (float)(a.gamma[c] * rate);
            shift[c] = (float)(a.beta[c] - mean * rate * a.gamma[c]);
        }
    }
}

}  // namespace hvr
