#pragma once

#include <memory>
#include <vector>

#include "tokenizer.hpp"

// Small tokenizers of every kind that has a fast plan, and some that have none.
const std::vector<std::shared_ptr<const enfold::tok::Core>>& configurations();
