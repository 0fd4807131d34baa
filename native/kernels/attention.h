// Softmax attention with fp32 sums, of one query a sequence over its cache.
#pragma once

#include "parallel.h"

namespace enfold::kernels::ENFOLD_ISA {

constexpr int kKeys = 512;     // keys whose scores are held at once
constexpr int kQueries = 4;    // queries that share one reading of keys and values
constexpr int kHeadDim = 256;  // largest head
#if defined(__AVX512F__)
constexpr int kWide = 4;  // vectors of a value row that are summed in one go
#else
constexpr int kWide = 2;
#endif

// Up to kQueries queries of one head group, widened to fp32 and scaled, zeros behind the last element.
struct Queries {
  alignas(64) float row[kQueries][kHeadDim];
};

template <class T>
inline void widen_query(const T *q, float scale, int64_t d, float *out) {
  const V s = set1(scale);
  for (int64_t i = 0; i < d; i += W) store(out + i, (d - i < W ? load_n(q + i, int(d - i)) : load(q + i)) * s);
}

// scores[g][j] = q_g · k_j
template <class T, int G>
inline void score(const Queries &q, const T *k, int64_t k_slot, int count, int64_t d, float scores[][kKeys]) {
  for (int j = 0; j < count; j += 4) {
    const T *key[4];
    for (int i = 0; i < 4; ++i) key[i] = k + (j + i < count ? j + i : count - 1) * k_slot;
    V total[G][4];
    for (int g = 0; g < G; ++g)
      for (int i = 0; i < 4; ++i) total[g][i] = set1(0);
    int64_t c = 0;
    for (; c + W <= d; c += W) {
      V wide[4];
      for (int i = 0; i < 4; ++i) wide[i] = load(key[i] + c);
      for (int g = 0; g < G; ++g) {
        const V query = load(q.row[g] + c);
        for (int i = 0; i < 4; ++i) total[g][i] = fma(query, wide[i], total[g][i]);
      }
    }
    if (c < d)
      for (int g = 0; g < G; ++g) {
        const V query = load(q.row[g] + c);
        for (int i = 0; i < 4; ++i) total[g][i] = fma(query, load_n(key[i] + c, int(d - c)), total[g][i]);
      }
    for (int g = 0; g < G; ++g) store4(scores[g] + j, sum4(total[g][0], total[g][1], total[g][2], total[g][3]));
  }
}

// Scores become exp(score - largest); returns their sum. The lanes behind `count` become 0.
inline float soften(float *scores, int count, float &largest_score) {
  const float low = -__builtin_inff();
  for (int j = count; j % W; ++j) scores[j] = low;
  V top = set1(low);
  for (int j = 0; j < count; j += W) top = max(top, load(scores + j));
  largest_score = largest(top);
  // Every key masked: all weights are zero, and so is the answer.
  const V shift = set1(largest_score == low ? 0.0f : largest_score);
  V total = set1(0);
  for (int j = 0; j < count; j += W) {
    const V s = load(scores + j);
    const V weight = where_less(s, set1(-3e38f), set1(0), exp(s - shift));
    store(scores + j, weight);
    total = total + weight;
  }
  return sum(total);
}

template <class T, int G, int N>
inline void gather_lanes(const float *weights, int64_t row, const T *v, int64_t v_slot, int count, float *const out[],
                         int64_t c) {
  V total[G][N];
  for (int g = 0; g < G; ++g)
    for (int i = 0; i < N; ++i) total[g][i] = set1(0);
  for (int j = 0; j < count; ++j) {
    V wide[N];
    for (int i = 0; i < N; ++i) wide[i] = load(v + j * v_slot + c + i * W);
    for (int g = 0; g < G; ++g) {
      const V weight = set1(weights[g * row + j]);
      for (int i = 0; i < N; ++i) total[g][i] = fma(weight, wide[i], total[g][i]);
    }
  }
  for (int g = 0; g < G; ++g)
    for (int i = 0; i < N; ++i) store(out[g] + c + i * W, total[g][i]);
}

// out[g][:] = Σ_j weights[g · row + j] v_j
template <class T, int G>
inline void gather(const float *weights, int64_t row, const T *v, int64_t v_slot, int count, int64_t d,
                   float *const out[]) {
  int64_t c = 0;
  for (; c + kWide * W <= d; c += kWide * W) gather_lanes<T, G, kWide>(weights, row, v, v_slot, count, out, c);
  for (; c + 2 * W <= d; c += 2 * W) gather_lanes<T, G, 2>(weights, row, v, v_slot, count, out, c);
  for (; c + W <= d; c += W) gather_lanes<T, G, 1>(weights, row, v, v_slot, count, out, c);
  if (c == d) return;
  const int n = int(d - c);
  V total[G];
  for (int g = 0; g < G; ++g) total[g] = set1(0);
  for (int j = 0; j < count; ++j) {
    const V wide = load_n(v + j * v_slot + c, n);
    for (int g = 0; g < G; ++g) total[g] = fma(set1(weights[g * row + j]), wide, total[g]);
  }
  for (int g = 0; g < G; ++g) store_n(out[g] + c, total[g], n);
}

// One run of keys seen by one query: the largest score, Σ exp(score - largest), and the values weighted so.
struct Part {
  float largest, sum;
};

template <class T, int G>
void attend_part(const AttendDecode &a, int64_t b, int64_t kv_head, int64_t head, int64_t first, int count, Part *parts,
                 float *const out[]) {
  Queries q;
  alignas(64) float scores[G][kKeys];
  for (int g = 0; g < G; ++g)
    widen_query(static_cast<const T *>(a.q) + b * a.q_row + (head + g) * a.q_head, a.scale, a.d, q.row[g]);
  const T *k = static_cast<const T *>(a.k) + b * a.k_batch + kv_head * a.k_head + first * a.k_slot;
  const T *v = static_cast<const T *>(a.v) + b * a.v_batch + kv_head * a.v_head + first * a.v_slot;
  score<T, G>(q, k, a.k_slot, count, a.d, scores);
  for (int g = 0; g < G; ++g) {
    if (a.softcap > 0) {
      const V cap = set1(a.softcap);
      for (int j = 0; j < count; j += W) store(scores[g] + j, cap * tanh(load(scores[g] + j) / cap));
    }
    if (a.bias) {
      const float *bias = a.bias + b * a.bias_batch + (head + g) * a.bias_head + first;
      for (int j = 0; j < count; ++j) scores[g][j] += bias[j];
    }
    parts[g].sum = soften(scores[g], count, parts[g].largest);
  }
  gather<T, G>(scores[0], kKeys, v, a.v_slot, count, a.d, out);
}

// 1 / Σ exp(score - largest), a sink's score among them; 0 where no key was seen.
inline float share(float sum, float largest_score, const float *sink) {
  if (sum == 0) return 0;
  return 1.0f / (sink ? sum + __builtin_expf(*sink - largest_score) : sum);
}

template <class T>
inline void finish(const float *values, float weight, int64_t d, T *out) {
  const V w = set1(weight);
  for (int64_t i = 0; i < d; i += W) {
    const int n = d - i < W ? int(d - i) : W;
    n == W ? store(out + i, load(values + i) * w) : store_n(out + i, load_n(values + i, n) * w, n);
  }
}

// Keys are cut into runs of kKeys whatever the number of threads or sequences, so an answer never depends on those.
template <class T>
void attend_decode_typed(const AttendDecode &a) {
  int64_t longest = 0, keys = 0;
  for (int64_t b = 0; b < a.B; ++b) {
    const int64_t length = a.lengths[b] - (a.starts ? a.starts[b] : 0);
    longest = length > longest ? length : longest;
    keys += length > 0 ? length : 0;
  }
  const int64_t group = a.H / a.Hkv, runs = longest > kKeys ? (longest + kKeys - 1) / kKeys : 1;
  const int64_t stride = a.d + 2;  // a part, then its values
  float *partial = runs > 1 ? static_cast<float *>(scratch(size_t(a.B * a.H * runs * stride) * sizeof(float))) : nullptr;
  T *out = static_cast<T *>(a.out);
  const int threads = useful_threads(a.threads, keys * a.H * a.d, 1 << 18);
  spread(a.B * a.Hkv * runs, 1, threads, [&](int64_t first_task, int64_t last_task) {
    for (int64_t task = first_task; task < last_task; ++task) {
      const int64_t run = task % runs, kv_head = task / runs % a.Hkv, b = task / runs / a.Hkv;
      const int64_t start = (a.starts ? a.starts[b] : 0) + run * kKeys;
      const int64_t left = a.lengths[b] - start;
      const int count = left > kKeys ? kKeys : left > 0 ? int(left) : 0;
      for (int64_t g = 0; g < group; g += kQueries) {
        const int64_t head = kv_head * group + g;
        const int live = group - g < kQueries ? int(group - g) : kQueries;
        Part parts[kQueries] = {};
        alignas(64) float values[kQueries][kHeadDim];
        float *target[kQueries];
        for (int i = 0; i < live; ++i)
          target[i] = partial ? partial + ((b * a.H + head + i) * runs + run) * stride + 2 : values[i];
        if (count == 0) {
          for (int i = 0; i < live; ++i) {
            parts[i] = {-__builtin_inff(), 0};
            for (int64_t c = 0; c < a.d; ++c) target[i][c] = 0;
          }
        } else {
          switch (live) {
            case 1: attend_part<T, 1>(a, b, kv_head, head, start, count, parts, target); break;
            case 2: attend_part<T, 2>(a, b, kv_head, head, start, count, parts, target); break;
            case 3: attend_part<T, 3>(a, b, kv_head, head, start, count, parts, target); break;
            default: attend_part<T, 4>(a, b, kv_head, head, start, count, parts, target); break;
          }
        }
        for (int i = 0; i < live; ++i) {
          if (partial)
            std::memcpy(target[i] - 2, &parts[i], sizeof(Part));
          else
            finish(target[i], share(parts[i].sum, parts[i].largest, a.sinks ? a.sinks + head + i : nullptr), a.d,
                   out + (b * a.H + head + i) * a.d);
        }
      }
    }
  });
  if (!partial) return;
  for (int64_t row = 0; row < a.B * a.H; ++row) {
    float *base = partial + row * runs * stride;
    float top = -__builtin_inff(), total = 0;
    for (int64_t run = 0; run < runs; ++run) {
      const float largest_score = base[run * stride];
      top = largest_score > top || largest_score != largest_score ? largest_score : top;
    }
    alignas(64) float values[kHeadDim + W];
    for (int64_t c = 0; c < a.d; ++c) values[c] = 0;
    for (int64_t run = 0; run < runs; ++run) {
      const float *part = base + run * stride;
      if (part[1] == 0) continue;
      const float weight = __builtin_expf(part[0] - top);
      total += weight * part[1];
      for (int64_t c = 0; c < a.d; ++c) values[c] += weight * part[2 + c];
    }
    finish(values, share(total, top, a.sinks ? a.sinks + row % a.H : nullptr), a.d, out + row * a.d);
  }
}

inline void attend_decode(const AttendDecode &a) {
  switch (a.type) {
    case Type::f32: return attend_decode_typed<float>(a);
    case Type::bf16: return attend_decode_typed<bf16>(a);
    case Type::f16: return attend_decode_typed<f16>(a);
  }
}

}  // namespace enfold::kernels::ENFOLD_ISA
