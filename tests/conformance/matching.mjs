/** References and expectations of a scenario; README.md says what they mean. */

/** A value of a scenario with `${name.path}` replaced by what is known by then. */
export function resolve(value, known) {
  if (typeof value === "string") return resolveText(value, known);
  if (Array.isArray(value)) return value.map((one) => resolve(one, known));
  if (typeof value !== "object" || value === null) return value;
  if ("$text" in value) return value.$text[0].repeat(value.$text[1]);
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, resolve(member, known)]));
}

function resolveText(text, known) {
  const whole = /^\$\{([^}]+)\}$/.exec(text);
  if (whole) return lookUp(whole[1], known);
  return text.replace(/\$\{([^}]+)\}/g, (_, path) => String(lookUp(path, known)));
}

function lookUp(path, known) {
  const found = at(path, known);
  if (found === undefined) throw new Error(`nothing is known as ${path}`);
  return found;
}

/** The member at a dotted path; the whole for an empty one. */
export function at(path, value) {
  return path === "" ? value : path.split(".").reduce((found, name) => found?.[name], value);
}

const KINDS = {
  uuid: (value) => typeof value === "string" && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value),
  time: (value) => typeof value === "string" && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(value),
  string: (value) => typeof value === "string",
  number: (value) => typeof value === "number",
};

const OPERATORS = {
  $is: (kind, value) => KINDS[kind](value),
  $not: (expected, value) => mismatch(expected, value) !== null,
  $at_least: (least, value) => typeof value === "number" && value >= least,
  $at_most: (most, value) => typeof value === "number" && value <= most,
  $count: (count, value) => Array.isArray(value) && value.length === count,
  $has: (each, value) =>
    Array.isArray(value) && each.every((expected) => value.some((one) => mismatch(expected, one) === null)),
};

/** What is not as expected, as a sentence; null when all is. */
export function mismatch(expected, value, where = "it") {
  if (expected === null || value === null || value === undefined) {
    if ((expected ?? null) === (value ?? null)) return null;
    if (!isOperator(expected)) return `${where} is ${show(value)}, not ${show(expected)}`;
  }
  if (isOperator(expected)) {
    const failed = Object.entries(expected).find(([name, argument]) => !OPERATORS[name](argument, value));
    return failed ? `${where} is ${show(value)}, which is not ${failed[0]} ${show(failed[1])}` : null;
  }
  if (Array.isArray(expected)) {
    if (!Array.isArray(value) || value.length !== expected.length) {
      return `${where} is ${show(value)}, not ${expected.length} elements`;
    }
    return first(expected.map((one, index) => mismatch(one, value[index], `${where}[${index}]`)));
  }
  if (typeof expected === "object") {
    if (typeof value !== "object") return `${where} is ${show(value)}, not an object`;
    return first(Object.entries(expected).map(([name, one]) => mismatch(one, value[name], `${where}.${name}`)));
  }
  return expected === value ? null : `${where} is ${show(value)}, not ${show(expected)}`;
}

function isOperator(expected) {
  if (typeof expected !== "object" || expected === null || Array.isArray(expected)) return false;
  return Object.keys(expected).some((name) => name.startsWith("$"));
}

function first(found) {
  return found.find((one) => one !== null) ?? null;
}

export function show(value) {
  const text = JSON.stringify(value) ?? "absent";
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
