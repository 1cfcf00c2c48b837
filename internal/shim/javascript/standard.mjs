// The standard classes, which Node loads when they are first used. That takes tens of
// milliseconds, and building one of each per call costs two thirds of the calls per
// second. So functions get light classes with the same interface, and the real ones
// are built when something unusual is needed.

const names = ["Headers", "Request", "Response"];
const own = Object.fromEntries(names.map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]));

// standard returns the real class by name.
export function standard(name) {
  const { get, value } = own[name];
  if (!get) return value;
  const ours = Object.getOwnPropertyDescriptor(globalThis, name);
  const real = get.call(globalThis); // on first access it overwrites our class
  Object.defineProperty(globalThis, name, ours);
  own[name] = { value: real };
  return real;
}

// isStandard reports whether a value belongs to a real class, which it loads only for
// a value that claims to.
export function isStandard(name, value) {
  return typeof value === "object" && value?.[Symbol.toStringTag] === name && value instanceof standard(name);
}

// hasInstance makes `x instanceof Ours` true for real objects too, which fetch()
// returns. Classes derived from ours behave as usual.
export function hasInstance(name, ours) {
  const usual = Function.prototype[Symbol.hasInstance];
  return {
    value(value) {
      return usual.call(this, value) || (this === ours && isStandard(name, value));
    },
  };
}

// install replaces the real classes with the light ones. It wraps fetch, which accepts
// only its own Request.
export function install(light) {
  for (const [name, value] of Object.entries(light)) {
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
  }
  const real = globalThis.fetch;
  globalThis.fetch = function fetch(input, init) {
    return real(light.Request.standard(input), init);
  };
}
