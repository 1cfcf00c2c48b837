// The standard's own classes, which Node loads when they are first touched. That
// takes tens of milliseconds, and building one of each for every call costs two
// thirds of the calls per second. So functions see light classes of the same
// interface, and the real ones are built where something unusual is asked for.

const names = ["Headers", "Request", "Response"];
const own = Object.fromEntries(names.map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]));

// standard returns the real class of a name.
export function standard(name) {
  const { get, value } = own[name];
  if (!get) return value;
  const ours = Object.getOwnPropertyDescriptor(globalThis, name);
  const real = get.call(globalThis); // the first time it puts itself in our place
  Object.defineProperty(globalThis, name, ours);
  own[name] = { value: real };
  return real;
}

// isStandard reports whether a value is of a real class. It loads the class only
// for a value that says it is one.
export function isStandard(name, value) {
  return typeof value === "object" && value?.[Symbol.toStringTag] === name && value instanceof standard(name);
}

// hasInstance makes `x instanceof Ours` true for the real class's objects too,
// which fetch() returns. Classes derived from ours keep what is usual.
export function hasInstance(name, ours) {
  const usual = Function.prototype[Symbol.hasInstance];
  return {
    value(value) {
      return usual.call(this, value) || (this === ours && isStandard(name, value));
    },
  };
}

// install puts the light classes in the place of the real ones. fetch is told,
// because it takes a Request only if it is its own.
export function install(light) {
  for (const [name, value] of Object.entries(light)) {
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
  }
  const real = globalThis.fetch;
  globalThis.fetch = function fetch(input, init) {
    return real(light.Request.standard(input), init);
  };
}
