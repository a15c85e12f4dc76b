// std::string for Python: text as UTF-8, and bytes that are none as Python itself passes them.
//
// Names of files may hold any byte. Python hands them out as lone surrogates (PEP 383, "surrogateescape"), which
// nanobind's own caster refuses as a wrong type; here they become the bytes that they stand for, and back. Names inside
// models are checked where they are made (require_text) or read (importers, format). Instead of
// <nanobind/stl/string.h>, which must not be included beside it.
#pragma once

#include <nanobind/nanobind.h>

#include <string>

NAMESPACE_BEGIN(NB_NAMESPACE)
NAMESPACE_BEGIN(detail)

template <>
struct type_caster<std::string> {
  NB_TYPE_CASTER(std::string, const_name("str"))

  bool from_python(handle source, uint32_t, cleanup_list*) noexcept {
    if (PyUnicode_Check(source.ptr()) == 0) return false;
    Py_ssize_t size = 0;
    if (const char* text = PyUnicode_AsUTF8AndSize(source.ptr(), &size)) {
      value.assign(text, static_cast<size_t>(size));
      return true;
    }
    // Surrogates that stand for no byte go as they are: no UTF-8 either, so whoever checks text finds them.
    for (const char* errors : {"surrogateescape", "surrogatepass"}) {
      PyErr_Clear();
      const object bytes = steal(PyUnicode_AsEncodedString(source.ptr(), "utf-8", errors));
      if (!bytes.is_valid()) continue;
      value.assign(PyBytes_AsString(bytes.ptr()), static_cast<size_t>(PyBytes_Size(bytes.ptr())));
      return true;
    }
    PyErr_Clear();
    return false;
  }

  static handle from_cpp(const std::string& value, rv_policy, cleanup_list*) noexcept {
    return PyUnicode_DecodeUTF8(value.data(), static_cast<Py_ssize_t>(value.size()), "surrogateescape");
  }
};

NAMESPACE_END(detail)
NAMESPACE_END(NB_NAMESPACE)
