// A stand-in for libFuzzer where the compiler has none: runs the given files, then mutations of them for a set time.
//
//     fuzz_NAME -max_total_time=SECONDS CORPUS...

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

std::mt19937_64 randomness(20);
std::vector<std::string> corpus;

std::size_t below(std::size_t n) { return n ? randomness() % n : 0; }

void read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

std::string mutated(std::string text) {
  for (std::size_t n = 1 + below(6); n > 0; --n) {
    const std::size_t at = below(text.size() + 1);
    const std::string& other = corpus[below(corpus.size())];
    switch (below(6)) {
      case 0: text.insert(at, 1, static_cast<char>(randomness())); break;
      case 1: text.erase(at, 1 + below(8)); break;
      case 2:
        if (at < text.size()) text[at] = static_cast<char>(text[at] ^ 1 << below(8));
        break;
      case 3:
        if (at < text.size()) text[at] = static_cast<char>(randomness());
        break;
      case 4: text.insert(at, text, below(text.size() + 1), below(24)); break;
      default: text.insert(at, other, below(other.size() + 1), below(64)); break;
    }
  }
  text.resize(std::min<std::size_t>(text.size(), 4096));
  return text;
}

// The input is written down before it runs, so that a crash leaves it behind.
void run(const std::string& input) {
  std::ofstream("last-input", std::ios::binary) << input;
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

}  // namespace

int main(int count, char** arguments) {
  double seconds = 60;
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    if (argument.starts_with("-max_total_time=")) seconds = std::stod(argument.substr(16));
    else if (std::filesystem::is_directory(argument)) {
      for (const auto& entry : std::filesystem::directory_iterator(argument)) read(entry.path());
    } else if (!argument.starts_with("-")) {
      read(argument);
    }
  }
  corpus.emplace_back();
  const std::size_t given = corpus.size();
  for (std::size_t i = 0; i < given; ++i) run(corpus[i]);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  std::size_t runs = 0;
  for (; std::chrono::steady_clock::now() < end; ++runs) {
    std::string input = mutated(corpus[below(corpus.size())]);
    run(input);
    if (corpus.size() < 4000 && below(50) == 0) corpus.push_back(std::move(input));
  }
  std::printf("%zu inputs\n", runs);
  return 0;
}
