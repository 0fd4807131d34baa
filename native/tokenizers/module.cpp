#include "request.hpp"

NB_MODULE(_engine, m) {
  namespace nb = nanobind;
  using namespace enfold::tok;
  m.doc() = "The tokenizer engine.";
  // Python classes of custom components keep their module alive, and with it the tokenizers in it, until the end.
  nb::set_leak_warnings(false);
  nb::register_exception_translator(
      [](const std::exception_ptr& thrown, void*) {
        const auto raise = [](const char* name, const char* message) {
          const nb::object type = nb::module_::import_("enfold.base.errors").attr(name);
          PyErr_SetString(type.ptr(), message);
        };
        try {
          std::rethrow_exception(thrown);
        } catch (const Error& error) {
          raise("TokenizerError", error.what());
        } catch (const NotBuilt& error) {
          raise("NotBuiltError", error.what());
        } catch (const LoneSurrogate&) {
          PyErr_SetString(PyExc_TypeError,
                          "text should be a str without lone "
                          "surrogates (it has no UTF-8 form)");
        }
      },
      nullptr);
  bind_encoding(m);
  bind_batch(m);
  bind_added_token(m);
  bind_text(m);
  bind_components(m);
  bind_request(m);
  bind_tokenizer(m);
  bind_formats(m);
  bind_training(m);
}
