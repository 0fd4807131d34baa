#pragma once

#include <cstddef>
#include <functional>

namespace enfold::tok {

// How many threads this much work (in bytes or the like) is worth, within what the machine has and the user allows.
std::size_t threads_for(std::size_t work);

// Runs task(0) … task(n - 1), each in a thread of its own, the last one in this thread; the first exception is passed
// on once all of them have ended.
void in_threads(std::size_t n, const std::function<void(std::size_t)>& task);

}  // namespace enfold::tok
