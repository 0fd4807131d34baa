#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "normalizers.hpp"

namespace enfold::tok {

// What a row of normalizers makes of each character by itself: looked up instead of run. Characters that need their
// neighbours are only marked as such. Filled page by page as texts come.
class CharacterMap {
 public:
  // Every step has to tell which characters are context for it.
  explicit CharacterMap(std::vector<const Normalizer*> steps);
  ~CharacterMap();
  CharacterMap(const CharacterMap&) = delete;
  CharacterMap& operator=(const CharacterMap&) = delete;

  // kKept: the character stays; kSpace: it does and is white space or a mark (▁). kPart: it belongs to a longer text
  // that is replaced, so its neighbours matter if they do too. kContext: they do in any case, or nothing is left of it.
  enum Kind : std::uint8_t { kKept, kSpace, kChanged, kPart, kContext };
  struct Entry {
    Kind kind;
    std::uint16_t size = 0;  // bytes of what it is changed into
    std::uint32_t at = 0;    // where that stands in the texts of the page
  };
  Entry operator[](char32_t c) const { return page(c).entries[c % kPage]; }
  std::string_view text(char32_t c, Entry entry) const { return {page(c).texts.data() + entry.at, entry.size}; }

  // Runs the steps.
  void apply(Aligned& text) const {
    for (const Normalizer* step : steps_) step->apply(text);
  }

 private:
  static constexpr char32_t kPage = 128;
  struct Page {
    std::array<Entry, kPage> entries;
    std::string texts;
  };
  const Page& page(char32_t c) const {
    const Page* found = pages_[c / kPage].load(std::memory_order_acquire);
    return found ? *found : fill(c / kPage);
  }
  const Page& fill(char32_t number) const;
  Entry entry_of(char32_t c, std::string& texts) const;

  std::vector<const Normalizer*> steps_;
  mutable std::vector<std::atomic<const Page*>> pages_;
};

}  // namespace enfold::tok
