#include "derived_merges.hpp"

#include <random>

namespace enfold::tok {
namespace {

// Hashes of all heads of a token in one pass, and of its tails from them: polynomials over the field of 2^61 − 1
// elements. The base is drawn anew each time, so that no file can be made to collide.
constexpr std::uint64_t kPrime = (1ull << 61) - 1;

std::uint64_t reduce(std::uint64_t value) { return value >= kPrime ? value - kPrime : value; }

std::uint64_t product(std::uint64_t a, std::uint64_t b) {
#ifdef __SIZEOF_INT128__
  __extension__ using Wide = unsigned __int128;
  const Wide wide = static_cast<Wide>(a) * b;
  return reduce(static_cast<std::uint64_t>(wide & kPrime) + static_cast<std::uint64_t>(wide >> 61));
#else
  const std::uint64_t al = a & 0x7FFFFFFF, ah = a >> 31, bl = b & 0x7FFFFFFF, bh = b >> 31;
  const std::uint64_t middle = al * bh + ah * bl;
  const std::uint64_t sum = (ah * bh << 1) + (middle >> 30) + ((middle & 0x3FFFFFFF) << 31) + al * bl;
  return reduce((sum & kPrime) + (sum >> 61));
#endif
}

class Table {
 public:
  explicit Table(const std::vector<std::string_view>& tokens) : tokens_(tokens) {
    std::random_device device;
    base_ = (static_cast<std::uint64_t>(device()) << 29 ^ device()) % (kPrime - 512) + 300;
    std::size_t slots = 16;
    while (slots < tokens.size() * 2) slots *= 2;
    mask_ = slots - 1;
    slots_.assign(slots, {0, kEmpty});
    for (std::uint32_t i = 0; i < tokens.size(); ++i) put(hash(tokens[i]), i);
  }

  std::uint64_t base() const { return base_; }

  std::uint32_t find(std::uint64_t hash, std::string_view text) const {
    for (std::size_t i = at(hash);; i = (i + 1) & mask_) {
      if (slots_[i].token == kEmpty) return kEmpty;
      if (slots_[i].hash == hash && tokens_[slots_[i].token] == text) return slots_[i].token;
    }
  }

  static constexpr std::uint32_t kEmpty = 0xFFFFFFFFu;

 private:
  struct Slot {
    std::uint64_t hash;
    std::uint32_t token;
  };

  std::size_t at(std::uint64_t hash) const { return (hash * 0x9E3779B97F4A7C15ull >> 20) & mask_; }

  std::uint64_t hash(std::string_view text) const {
    std::uint64_t h = 0;
    for (const char c : text) h = reduce(product(h, base_) + static_cast<unsigned char>(c) + 1);
    return h;
  }

  void put(std::uint64_t hash, std::uint32_t token) {
    std::size_t i = at(hash);
    while (slots_[i].token != kEmpty && !(slots_[i].hash == hash && tokens_[slots_[i].token] == tokens_[token])) {
      i = (i + 1) & mask_;
    }
    slots_[i] = {hash, token};
  }

  const std::vector<std::string_view>& tokens_;
  std::uint64_t base_;
  std::size_t mask_;
  std::vector<Slot> slots_;
};

bool starts_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

}  // namespace

std::vector<Join> joins(const std::vector<std::string_view>& tokens, const std::vector<std::string_view>& targets,
                        Unit unit) {
  const Table table(tokens);
  std::vector<Join> found;
  std::vector<std::uint64_t> heads, powers{1};
  std::vector<std::size_t> cuts;
  for (std::uint32_t i = 0; i < targets.size(); ++i) {
    const std::string_view target = targets[i];
    cuts.clear();
    for (std::size_t cut = 1; cut < target.size(); ++cut) {
      if (unit == Unit::byte || starts_character(target[cut])) cuts.push_back(cut);
    }
    if (cuts.empty()) continue;
    heads.assign(1, 0);
    for (const char c : target) {
      heads.push_back(reduce(product(heads.back(), table.base()) + static_cast<unsigned char>(c) + 1));
    }
    while (powers.size() <= target.size()) powers.push_back(product(powers.back(), table.base()));
    const auto units = static_cast<std::uint32_t>(cuts.size() + 1);
    for (std::uint32_t n = 1; n < units; ++n) {
      const std::size_t cut = cuts[n - 1];
      const std::uint32_t left = table.find(heads[cut], target.substr(0, cut));
      if (left == Table::kEmpty) continue;
      const std::uint64_t tail = reduce(heads.back() + kPrime - product(heads[cut], powers[target.size() - cut]));
      const std::uint32_t right = table.find(tail, target.substr(cut));
      if (right != Table::kEmpty) found.push_back({i, left, right, n, units - n});
    }
  }
  return found;
}

}  // namespace enfold::tok
