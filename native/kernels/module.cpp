#include <nanobind/nanobind.h>

NB_MODULE(_kernels, m) { m.doc() = "CPU kernels for small batches of rows."; }
