#include "character_map.hpp"

#include <algorithm>

namespace enfold::tok {

CharacterMap::CharacterMap(std::vector<const Normalizer*> steps) : steps_(std::move(steps)), pages_(0x110000 / kPage) {}

CharacterMap::~CharacterMap() {
  for (auto& page : pages_) delete page.load();
}

CharacterMap::Entry CharacterMap::entry_of(char32_t c, std::string& texts) const {
  using Effect = Normalizer::Effect;
  const auto kept = [&] { return Entry{c == U'\u2581' || unicode::has(c, unicode::kSpace) ? kSpace : kKept}; };
  const auto keeps = [&](const Normalizer* step) { return step->effect(c) == Effect::kept; };
  if (std::all_of(steps_.begin(), steps_.end(), keeps)) return kept();
  std::string source;
  unicode::append(source, c);
  Aligned text = Aligned::from(source, 0);
  bool part = false;
  for (const Normalizer* step : steps_) {
    bool changes = false;
    for (std::size_t i = 0; i < text.text.size(); i += unicode::length(static_cast<unsigned char>(text.text[i]))) {
      const Effect effect = step->effect(unicode::decode(text.text.data() + i));
      changes |= effect == Effect::changed;
      if (effect != Effect::context) continue;
      if (!dynamic_cast<const ReplaceNormalizer*>(step) || text.text != source) return {kContext};
      part = true;
    }
    if (changes) step->apply(text);
  }
  if (text.text.empty() || text.text.size() > 0xFFFF || (part && text.text != source)) return {kContext};
  if (part) return {kPart};
  if (text.text == source) return kept();
  const auto at = static_cast<std::uint32_t>(texts.size());
  texts += text.text;
  return {kChanged, static_cast<std::uint16_t>(text.text.size()), at};
}

const CharacterMap::Page& CharacterMap::fill(char32_t number) const {
  auto made = std::make_unique<Page>();
  for (char32_t k = 0; k < kPage; ++k) {
    const char32_t c = number * kPage + k;
    made->entries[k] = c - 0xD800 < 0x800 ? Entry{kContext} : entry_of(c, made->texts);
  }
  // Another thread may have been faster: its page stays.
  const Page* expected = nullptr;
  if (pages_[number].compare_exchange_strong(expected, made.get(), std::memory_order_acq_rel)) return *made.release();
  return *expected;
}

}  // namespace enfold::tok
