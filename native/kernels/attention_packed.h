// Softmax attention inside each of the sequences that lie one after another in the same rows.
#pragma once

#include "attention.h"

namespace enfold::kernels::ENFOLD_ISA {

constexpr int kPanel = kWide * W;  // keys whose scores are summed side by side
constexpr int kChunk = 128;        // queries a task

// One sequence's keys and values of one head, in the order they are used: keys as panels [d][kPanel] (the last
// one only as wide as needed), values as rows of whole vectors, both fp32.
struct Gathered {
  float *keys, *values, *scores;
  int64_t length, padded, width;  // padded: keys in whole vectors; width: values' row
};

// Four rows of d numbers become columns of a panel that is `wide` keys wide.
inline void transpose4(const float *const rows[4], int64_t d, float *panel, int64_t wide) {
  int64_t c = 0;
#if defined(__AVX2__)
  for (; c + 4 <= d; c += 4) {
    __m128 a = _mm_loadu_ps(rows[0] + c), b = _mm_loadu_ps(rows[1] + c);
    __m128 e = _mm_loadu_ps(rows[2] + c), f = _mm_loadu_ps(rows[3] + c);
    _MM_TRANSPOSE4_PS(a, b, e, f);
    _mm_storeu_ps(panel + c * wide, a);
    _mm_storeu_ps(panel + (c + 1) * wide, b);
    _mm_storeu_ps(panel + (c + 2) * wide, e);
    _mm_storeu_ps(panel + (c + 3) * wide, f);
  }
#endif
  for (; c < d; ++c)
    for (int i = 0; i < 4; ++i) panel[c * wide + i] = rows[i][c];
}

template <class T>
inline void gather_head(const AttendPacked &a, int64_t b, int64_t kv_head, const Gathered &g) {
  const int64_t first = a.lengths ? 0 : a.offsets[b];
  const T *k = static_cast<const T *>(a.k) + b * a.k_batch + first * a.k_row + kv_head * a.k_head;
  const T *v = static_cast<const T *>(a.v) + b * a.v_batch + first * a.v_row + kv_head * a.v_head;
  alignas(64) float wide[4][kHeadDim];
  for (int64_t j = 0; j < g.padded; j += 4) {
    const float *rows[4];
    for (int i = 0; i < 4; ++i) {
      // What fills the last vector is read, never used: any row of the sequence will do.
      widen_query(k + (j + i < g.length ? j + i : g.length - 1) * a.k_row, 1.0f, a.d, wide[i]);
      rows[i] = wide[i];
    }
    const int64_t start = j / kPanel * kPanel, left = g.padded - start;
    transpose4(rows, a.d, g.keys + start * a.d + (j - start), left < kPanel ? left : kPanel);
  }
  for (int64_t j = 0; j < g.length; ++j)
    for (int64_t c = 0; c < g.width; c += W) {
      const T *row = v + j * a.v_row + c;
      store(g.values + j * g.width + c, a.d - c < W ? load_n(row, int(a.d - c)) : load(row));
    }
}

// Scores of G queries against a panel of N vectors of keys.
template <int G, int N>
inline void score_panel(const Queries &q, const float *panel, int64_t d, float *scores, int64_t row) {
  V total[G][N];
  for (int r = 0; r < G; ++r)
    for (int n = 0; n < N; ++n) total[r][n] = set1(0);
  for (int64_t c = 0; c < d; ++c) {
    V key[N];
    for (int n = 0; n < N; ++n) key[n] = load(panel + (c * N + n) * W);
    for (int r = 0; r < G; ++r) {
      const V query = set1(q.row[r][c]);
      for (int n = 0; n < N; ++n) total[r][n] = fma(query, key[n], total[r][n]);
    }
  }
  for (int r = 0; r < G; ++r)
    for (int n = 0; n < N; ++n) store(scores + r * row + n * W, total[r][n]);
}

// Queries [i, i + G) of a sequence whose keys are gathered; the first of its queries is row `first` and key `past`.
template <class T, int G>
void attend_rows(const AttendPacked &a, int64_t first, int64_t past, int64_t head, int64_t i, const Gathered &g) {
  Queries q;
  alignas(64) float values[G][kHeadDim];
  float *target[G];
  for (int r = 0; r < G; ++r) {
    target[r] = values[r];
    widen_query(static_cast<const T *>(a.q) + (first + i + r) * a.q_row + head * a.q_head, a.scale, a.d, q.row[r]);
  }
  const int64_t place = past + i, window = a.window ? a.window : g.length;
  const auto begin = [&](int64_t p) { return p < window ? 0 : p - window + 1; };
  const auto end = [&](int64_t p) { return a.causal ? p + 1 : p + window < g.length ? p + window : g.length; };
  const int64_t start = begin(place) / W * W, seen = end(place + G - 1);  // by all of these queries
  for (int64_t j = start / kPanel * kPanel; j < seen; j += kPanel) {
    const float *panel = g.keys + j * a.d;
    float *scores = g.scores + j;
    switch (g.padded - j >= kPanel ? kWide : (g.padded - j) / W) {
      case 1: score_panel<G, 1>(q, panel, a.d, scores, g.padded); break;
#if defined(__AVX512F__)
      case 2: score_panel<G, 2>(q, panel, a.d, scores, g.padded); break;
      case 3: score_panel<G, 3>(q, panel, a.d, scores, g.padded); break;
#endif
      default: score_panel<G, kWide>(q, panel, a.d, scores, g.padded); break;
    }
  }
  float weight[G];
  for (int r = 0; r < G; ++r) {
    // What this query doesn't see lies around its keys; a vector that holds some of both is masked lane by lane.
    const int64_t from = begin(place + r), aligned = from / W * W;
    float *scores = g.scores + r * g.padded + aligned;
    const int count = int(end(place + r) - aligned);
    if (a.softcap > 0) {
      const V cap = set1(a.softcap);
      for (int j = 0; j < count; j += W) store(scores + j, cap * tanh(load(scores + j) / cap));
    }
    if (a.bias) {
      const float *bias = a.bias + head * a.bias_head + (place + r) * a.bias_row + aligned;
      int j = 0;
      for (; j + W <= count; j += W) store(scores + j, load(scores + j) + load(bias + j));
      for (; j < count; ++j) scores[j] += bias[j];
    }
    for (int64_t j = aligned; j < from; ++j) scores[j - aligned] = -__builtin_inff();
    float top;
    const float total = soften(scores, count, top);
    weight[r] = share(total, top, a.sinks ? a.sinks + head : nullptr);
    for (int64_t j = start; j < aligned; ++j) scores[j - aligned] = 0;
    for (int64_t j = aligned + count; j < seen; ++j) scores[j - aligned] = 0;
  }
  gather<float, G>(g.scores + start, g.padded, g.values + start * g.width, g.width, int(seen - start), g.width, target);
  T *out = static_cast<T *>(a.out) + ((first + i) * a.H + head) * a.d;
  for (int r = 0; r < G; ++r) finish(values[r], weight[r], a.d, out + r * a.H * a.d);
}

template <class T>
void attend_packed_typed(const AttendPacked &a) {
  int64_t longest = 0, most = 0, work = 0;  // longest: keys, most: queries
  for (int64_t b = 0; b < a.B; ++b) {
    const int64_t queries = a.offsets[b + 1] - a.offsets[b], length = a.lengths ? a.lengths[b] : queries;
    longest = length > longest ? length : longest;
    most = queries > most ? queries : most;
    work += queries * (a.window && 2 * a.window < length ? 2 * a.window : length);
  }
  const int64_t chunks = (most + kChunk - 1) / kChunk;
  const int threads = useful_threads(a.threads, work * a.H * a.d, 1 << 18);
  spread(a.B * a.H * chunks, 1, threads, [&](int64_t first_task, int64_t last_task) {
    Gathered g;
    g.width = (a.d + W - 1) / W * W;
    const int64_t room = (longest + kPanel - 1) / kPanel * kPanel;
    g.keys = static_cast<float *>(scratch(size_t(room * (a.d + g.width + kQueries)) * sizeof(float)));
    g.values = g.keys + room * a.d;
    g.scores = g.values + room * g.width;
    for (int64_t task = first_task; task < last_task; ++task) {
      // Chunks of one head are neighbours, so a single thread gathers each head's keys once.
      const int64_t chunk = task % chunks, head = task / chunks % a.H, b = task / chunks / a.H;
      const int64_t first = a.offsets[b], from = chunk * kChunk;
      const int64_t queries = a.offsets[b + 1] - first;
      if (from >= queries) continue;
      g.length = a.lengths ? a.lengths[b] : queries;
      g.padded = (g.length + W - 1) / W * W;
      const int64_t past = g.length - queries;
      if (from == 0 || task == first_task) gather_head<T>(a, b, head / (a.H / a.Hkv), g);
      const int64_t to = from + kChunk < queries ? from + kChunk : queries;
      int64_t i = from;
      for (; i + kQueries <= to; i += kQueries) attend_rows<T, kQueries>(a, first, past, head, i, g);
      for (; i < to; ++i) attend_rows<T, 1>(a, first, past, head, i, g);
    }
  });
}

inline void attend_packed(const AttendPacked &a) {
  switch (a.type) {
    case Type::f32: return attend_packed_typed<float>(a);
    case Type::bf16: return attend_packed_typed<bf16>(a);
    case Type::f16: return attend_packed_typed<f16>(a);
  }
}

}  // namespace enfold::kernels::ENFOLD_ISA
