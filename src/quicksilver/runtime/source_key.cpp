// A canonical text of a source. Fields are written one by one: padding has no defined content.
#include <type_traits>

#include "quicksilver/runtime/device.h"

namespace qs {
namespace {

class Writer {
 public:
  template <class T>
    requires(std::is_integral_v<T> || std::is_enum_v<T>)
  Writer& operator<<(T v) {
    key.append(reinterpret_cast<const char*>(&v), sizeof v);
    return *this;
  }
  Writer& operator<<(std::string_view s) {
    *this << s.size();
    key.append(s);
    return *this;
  }
  std::string key;
};

void write(Writer& w, const std::vector<driver::TileInstr>& list) {
  w << list.size();
  for (const driver::TileInstr& i : list)
    w << i.kind << i.prim << i.fold_op << i.dst << i.src[0] << i.src[1] << i.src[2] << i.aux;
}

void write(Writer& w, const driver::TileProgram& p) {
  w << p.mode << p.kept_loops << p.reduced_loops << p.scalar_count << p.operands.size();
  for (const driver::TileOperand& o : p.operands) w << o.kind << o.dtype << o.domain;
  w << p.registers.size();
  for (const driver::TileRegister& r : p.registers) w << r.dtype << r.domain << r.persist;
  w << p.phases.size();
  for (const driver::TilePhase& phase : p.phases) {
    write(w, phase.body);
    write(w, phase.tail);
  }
}

void write(Writer& w, const driver::PortableKernel& k) {
  w << std::string_view(k.name) << reinterpret_cast<uintptr_t>(k.text)
    << reinterpret_cast<uintptr_t>(k.host);
}

void write(Writer& w, const driver::MatmulCall& m) { w << m.dtype << m.bias; }

void write(Writer& w, const driver::AttentionCall& a) {
  w << a.dtype << a.backward << a.causal << a.mask << a.mask_dtype << a.dropout;
}

void write(Writer& w, const driver::ConvCall& c) { w << c.kind << c.dtype << c.dims << c.bias; }

}  // namespace

std::string source_key(const driver::Source& source) {
  Writer w;
  w << source.index();
  std::visit([&](const auto& s) { write(w, s); }, source);
  return std::move(w.key);
}

}  // namespace qs
