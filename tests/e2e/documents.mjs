// Generates documents for a schema from a seed: valid ones, and ones with one fault.
import {
  getNamedType, getNullableType, isAbstractType, isCompositeType, isEnumType, isInputObjectType, isInterfaceType,
  isLeafType, isListType, isNonNullType, isObjectType, isRequiredArgument, isRequiredInputField, Kind, parse, print, visit,
} from "graphql";

/** A generator of numbers from 0 to 1 (mulberry32). */
export function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Makes documents that are valid, but for rare conflicts between types of an interface. */
export class Generator {
  constructor(schema, seed) {
    this.schema = schema;
    this.next = random(seed);
  }

  chance(probability) {
    return this.next() < probability;
  }

  pick(items) {
    return items[Math.floor(this.next() * items.length)];
  }

  document() {
    this.fragments = [];
    this.names = 0;
    const count = this.chance(0.2) ? 2 : 1;
    const operations = [];
    for (let n = 0; n < count; n += 1) operations.push(this.operation(count > 1 || this.chance(0.6) ? `Q${n}` : ""));
    return [...operations, ...this.fragments].join("\n");
  }

  operation(name) {
    this.variables = new Map();
    const kinds = ["query", "query", "mutation", "subscription"].filter((kind) => this.root(kind));
    const kind = this.pick(kinds);
    // Only the first operation spreads fragments with variables: those are declared for it alone.
    const set = kind === "subscription" ? this.subscription() : this.set(this.root(kind), 4, true);
    const declared = [...this.variables.values()].join(", ");
    return `${kind} ${name}${declared ? `(${declared})` : ""} ${set}`;
  }

  root(kind) {
    if (kind === "query") return this.schema.getQueryType();
    return kind === "mutation" ? this.schema.getMutationType() : this.schema.getSubscriptionType();
  }

  subscription() {
    const fields = Object.values(this.root("subscription").getFields());
    return `{ ${this.field(this.pick(fields), 3)} }`;
  }

  set(type, depth, top = false) {
    const selections = [];
    const count = 1 + Math.floor(this.next() * 4);
    for (let n = 0; n < count; n += 1) selections.push(this.selection(type, depth, top));
    return `{ ${selections.join(" ")} }`;
  }

  selection(type, depth, top) {
    if (this.chance(0.1)) return `${this.alias()}__typename${this.directives()}`;
    if (depth > 0 && this.chance(0.2)) return this.fragment(type, depth - 1);
    const fields = isObjectType(type) || isInterfaceType(type) ? Object.values(type.getFields()) : [];
    const possible = fields.filter((field) => depth > 0 || isLeafType(getNamedType(field.type)));
    if (possible.length === 0) return `${this.alias()}__typename`;
    if (top && this.chance(0.05)) return `${this.alias()}__type(name: "A") { name kind ofType { name } }`;
    return this.field(this.pick(possible), depth);
  }

  alias() {
    this.names += 1;
    return `a${this.names}: `;
  }

  field(field, depth) {
    // Without an alias the same field may occur twice with other arguments.
    const args = this.args(field.args);
    const alias = args || isCompositeType(getNamedType(field.type)) || this.chance(0.3) ? this.alias() : "";
    const type = getNamedType(field.type);
    const set = isCompositeType(type) ? ` ${this.set(type, depth - 1)}` : "";
    return `${alias}${field.name}${args}${this.directives()}${set}`;
  }

  fragment(type, depth) {
    const conditions = [type];
    for (const other of Object.values(this.schema.getTypeMap())) {
      if (!isCompositeType(other) || other.name.startsWith("__")) continue;
      const one = isAbstractType(type) ? this.schema.getPossibleTypes(type) : [type];
      const two = isAbstractType(other) ? this.schema.getPossibleTypes(other) : [other];
      if (one.some((possible) => two.includes(possible))) conditions.push(other);
    }
    const condition = this.pick(conditions);
    if (this.chance(0.5)) {
      const on = condition === type && this.chance(0.3) ? "" : ` on ${condition.name}`;
      return `...${on}${this.directives()} ${this.set(condition, depth)}`;
    }
    this.names += 1;
    const name = `F${this.names}`;
    const outer = this.variables;
    // Fragments are shared: they use no variables.
    this.variables = null;
    this.fragments.push(`fragment ${name} on ${condition.name} ${this.set(condition, depth)}`);
    this.variables = outer;
    return `...${name}${this.directives()}`;
  }

  directives() {
    if (!this.chance(0.1)) return "";
    const condition = this.variables && this.chance(0.5) ? this.variable("Boolean!", null) : String(this.chance(0.5));
    return ` ${this.pick(["@skip", "@include"])}(if: ${condition})`;
  }

  args(definitions) {
    const given = definitions
      .filter((arg) => isRequiredArgument(arg) || this.chance(0.4))
      .map((arg) => `${arg.name}: ${this.value(arg.type, 3, arg.defaultValue !== undefined)}`);
    if (this.chance(0.3)) given.reverse();
    return given.length > 0 ? `(${given.join(", ")})` : "";
  }

  /** A value for a place, perhaps a variable. */
  value(type, depth, hasDefault = false) {
    if (this.variables && this.chance(0.25)) return this.variable(String(type), type, hasDefault);
    return this.literal(type, depth);
  }

  variable(written, type, hasDefault = false) {
    this.names += 1;
    const name = `$v${this.names}`;
    let declared = written;
    if (type && !isNonNullType(type) && this.chance(0.3)) declared = `${written}!`;
    if (type && isNonNullType(type)) {
      if (hasDefault && this.chance(0.5)) declared = String(getNullableType(type));
      else if (this.chance(0.2)) declared = `${getNullableType(type)} = ${this.constant(getNullableType(type))}`;
    } else if (type && this.chance(0.2)) declared = `${written} = ${this.constant(type)}`;
    this.variables.set(name, `${name}: ${declared}`);
    return name;
  }

  constant(type) {
    const variables = this.variables;
    this.variables = null;
    const literal = this.literal(type, 2);
    this.variables = variables;
    return literal;
  }

  literal(type, depth) {
    if (isNonNullType(type)) return this.nonNull(type.ofType, depth);
    return this.chance(0.08) ? "null" : this.nonNull(type, depth);
  }

  nonNull(type, depth) {
    if (isListType(type)) {
      if (this.chance(0.2)) return this.nonNull(getNullableType(type.ofType), depth);
      const count = Math.floor(this.next() * 3);
      return `[${Array.from({ length: count }, () => this.value(type.ofType, depth - 1)).join(", ")}]`;
    }
    if (isEnumType(type)) return this.pick(type.getValues()).name;
    if (isInputObjectType(type)) {
      const fields = Object.values(type.getFields())
        .filter((field) => isRequiredInputField(field) || (depth > 0 && this.chance(0.4)))
        .map((field) => `${field.name}: ${this.value(field.type, depth - 1, field.defaultValue !== undefined)}`);
      return `{ ${fields.join(", ")} }`;
    }
    switch (type.name) {
      case "Int": return this.pick(["0", "1", "-7", "2147483647"]);
      case "Float": return this.pick(["0", "1.5", "-2e3", "7"]);
      case "Boolean": return this.pick(["true", "false"]);
      case "ID": return this.pick(['"x"', "12", '"0192c0de-0000-7000-8000-00000000abcd"']);
      case "DateTime": return '"2030-01-01T00:00:00Z"';
      default: return this.pick(['"text"', '""', '"""block"""', '"\\u00e9"']);
    }
  }
}

const name = (value) => ({ kind: Kind.NAME, value });

/** Changes one node of a kind, chosen by chance. */
function change(text, kind, next, change) {
  const document = parse(text);
  const nodes = [];
  visit(document, { [kind]: (node) => void nodes.push(node) });
  if (nodes.length === 0) return null;
  const chosen = nodes[Math.floor(next() * nodes.length)];
  return print(visit(document, { [kind]: (node) => (node === chosen ? change(node, document) : undefined) }));
}

const value = (text) => parse(`{ a(b: ${text}) }`).definitions[0].selectionSet.selections[0].arguments[0].value;
const directive = (text) => parse(`{ a ${text} }`).definitions[0].selectionSet.selections[0].directives[0];
const selection = (text) => parse(`{ ${text} }`).definitions[0].selectionSet.selections[0];
const variable = (text) => parse(`query(${text}) { a }`).definitions[0].variableDefinitions[0];
const WRONG = ["1", "1.5", '"x"', "true", "null", "UNKNOWN", "[]", "[[1]]", "{}", "{ a: 1 }", "$undefined", "99999999999", "[null]", "[1, \"a\"]"];

/** Faults by name: each takes a valid document and a generator of numbers, and may find no place (null). */
export const FAULTS = {
  "another field": (text, next) => change(text, "Field", next, (node) => ({ ...node, name: name("nonsense") })),
  "another field of the schema": (text, next) =>
    change(text, "Field", next, (node, document) => ({ ...node, name: name(fieldName(document, next)) })),
  "an unknown argument": (text, next) =>
    change(text, "Field", next, (node) => ({ ...node, arguments: [...node.arguments, { kind: Kind.ARGUMENT, name: name("nonsense"), value: value("1") }] })),
  "an argument twice": (text, next) => change(text, "Field", next, (node) => ({ ...node, arguments: [...node.arguments, ...node.arguments] })),
  "an argument removed": (text, next) => change(text, "Argument", next, () => null),
  "another value": (text, next) => change(text, "Argument", next, (node) => ({ ...node, value: value(pick(WRONG, next)) })),
  "another value in an object": (text, next) => change(text, "ObjectField", next, (node) => ({ ...node, value: value(pick(WRONG, next)) })),
  "another item in a list": (text, next) => change(text, "ListValue", next, (node) => ({ ...node, values: [...node.values, value(pick(WRONG, next))] })),
  "an input field twice": (text, next) => change(text, "ObjectValue", next, (node) => ({ ...node, fields: [...node.fields, ...node.fields] })),
  "an unknown input field": (text, next) =>
    change(text, "ObjectValue", next, (node) => ({ ...node, fields: [...node.fields, { kind: Kind.OBJECT_FIELD, name: name("nonsense"), value: value("1") }] })),
  "an input field removed": (text, next) => change(text, "ObjectField", next, () => null),
  "a variable unused": (text, next) =>
    change(text, "OperationDefinition", next, (node) => ({ ...node, variableDefinitions: [...node.variableDefinitions, variable("$unused: Int")] })),
  "a variable undefined": (text, next) => change(text, "VariableDefinition", next, () => null),
  "a variable twice": (text, next) =>
    change(text, "OperationDefinition", next, (node) => ({ ...node, variableDefinitions: [...node.variableDefinitions, ...node.variableDefinitions] })),
  "a variable of another type": (text, next) =>
    change(text, "VariableDefinition", next, (node) => ({ ...node, type: variable(`$a: ${pick(["Int", "Int!", "String", "String!", "[String!]", "Boolean", "Query", "Nonsense", "[[ID]]", "ID"], next)}`).type })),
  "a variable nullable": (text, next) =>
    change(text, "VariableDefinition", next, (node) => (node.type.kind === Kind.NON_NULL_TYPE ? { ...node, type: node.type.type } : undefined)),
  "another default": (text, next) => change(text, "VariableDefinition", next, (node) => ({ ...node, defaultValue: value(pick(WRONG.filter((it) => !it.includes("$")), next)) })),
  "a default removed": (text, next) => change(text, "VariableDefinition", next, (node) => ({ ...node, defaultValue: undefined })),
  "an unknown directive": (text, next) => change(text, "Field", next, (node) => ({ ...node, directives: [...node.directives, directive("@nonsense")] })),
  "a directive twice": (text, next) =>
    change(text, "Field", next, (node) => ({ ...node, directives: [directive("@skip(if: false)"), directive("@skip(if: true)")] })),
  "a directive without its argument": (text, next) => change(text, "Field", next, (node) => ({ ...node, directives: [directive(pick(["@skip", "@include(unless: true)", "@skip(if: 1)", "@include(if: null)"], next))] })),
  "a directive elsewhere": (text, next) =>
    change(text, "OperationDefinition", next, (node) => ({ ...node, directives: [directive(pick(["@skip(if: true)", "@specifiedBy(url: \"x\")", "@deprecated"], next))] })),
  "a directive on a fragment": (text, next) => change(text, "FragmentDefinition", next, (node) => ({ ...node, directives: [directive(pick(["@skip(if: true)", "@nonsense"], next))] })),
  "a directive on a variable": (text, next) => change(text, "VariableDefinition", next, (node) => ({ ...node, directives: [directive("@skip(if: true)")] })),
  "an unknown fragment": (text, next) => change(text, "SelectionSet", next, (node) => ({ ...node, selections: [...node.selections, selection("...Nonsense")] })),
  "an unused fragment": (text) => `${text}\nfragment Unused on Query { __typename }`,
  "a fragment removed": (text, next) => change(text, "FragmentDefinition", next, () => null),
  "a fragment twice": (text, next) => {
    const found = parse(text).definitions.filter((node) => node.kind === Kind.FRAGMENT_DEFINITION);
    return found.length === 0 ? null : `${text}\n${print(pick(found, next))}`;
  },
  "a fragment within itself": (text, next) =>
    change(text, "FragmentDefinition", next, (node) => ({ ...node, selectionSet: { ...node.selectionSet, selections: [...node.selectionSet.selections, selection(`...${node.name.value}`)] } })),
  "another type condition": (text, next) =>
    change(text, pick(["InlineFragment", "FragmentDefinition"], next), next, (node) => ({ ...node, typeCondition: { kind: Kind.NAMED_TYPE, name: name(pick(["Nonsense", "Int", "Query", "User", "Todo", "Dog", "Cat", "Named", "Pet", "__Type"], next)) } })),
  "fields of a leaf": (text, next) => change(text, "Field", next, (node) => (node.selectionSet ? undefined : { ...node, selectionSet: parse("{ a }").definitions[0].selectionSet })),
  "no fields of an object": (text, next) => change(text, "Field", next, (node) => (node.selectionSet ? { ...node, selectionSet: undefined } : undefined)),
  "two fields under one key": (text, next) =>
    change(text, "SelectionSet", next, (node) => {
      const fields = node.selections.filter((it) => it.kind === Kind.FIELD);
      return fields.length < 2 ? undefined : { ...node, selections: node.selections.map((it) => (it.kind === Kind.FIELD ? { ...it, alias: name("same") } : it)) };
    }),
  "one field twice with other arguments": (text, next) =>
    change(text, "SelectionSet", next, (node) => {
      const field = node.selections.find((it) => it.kind === Kind.FIELD && it.arguments.length > 0);
      return field ? { ...node, selections: [...node.selections, { ...field, arguments: field.arguments.slice(1) }] } : undefined;
    }),
  "one field twice": (text, next) => change(text, "SelectionSet", next, (node) => ({ ...node, selections: [...node.selections, ...node.selections] })),
  "an operation's name twice": (text) => text.replace(/\bQ1\b/, "Q0"),
  "an operation without a name beside others": (text) => `${text}\n{ __typename }`,
  "two fields in a subscription": (text, next) =>
    change(text, "OperationDefinition", next, (node) =>
      node.operation === "subscription" ? { ...node, selectionSet: { ...node.selectionSet, selections: [...node.selectionSet.selections, selection(pick(["__typename", "more: __typename", "... on Subscription { x: __typename }"], next))] } } : undefined),
  "an operation of another kind": (text, next) => change(text, "OperationDefinition", next, (node) => ({ ...node, operation: pick(["query", "mutation", "subscription"], next) })),
  "a definition of a type": (text, next) => `${text}\n${pick(["type A { b: Int }", "extend type Query { b: Int }", "scalar B", "directive @c on FIELD"], next)}`,
};

/** Changes to the text, which may make it no GraphQL at all. */
export function garble(text, next) {
  const tokens = text.match(/"""[^]*?"""|"(?:[^"\\\n]|\\.)*"|\.\.\.|[A-Za-z_][A-Za-z0-9_]*|-?[0-9.eE+]+|[^\s]/g) ?? [];
  const more = ["{", "}", "(", ")", "[", "]", ":", "!", "$", "@", "=", "|", "...", "on", "null", "1", '"a"', "query", "fragment", "\u{feff}", "#", "&", "-0", "00", "1.", "é"];
  const edits = 1 + Math.floor(next() * 2);
  for (let n = 0; n < edits; n += 1) {
    const at = Math.floor(next() * tokens.length);
    const kind = next();
    if (kind < 0.35) tokens.splice(at, 1);
    else if (kind < 0.5) tokens.splice(at, 0, tokens[at]);
    else if (kind < 0.7) tokens[at] = pick(more, next);
    else tokens.splice(at, 0, pick(more, next));
  }
  return tokens.join(" ");
}

function pick(items, next) {
  return items[Math.floor(next() * items.length)];
}

function fieldName(document, next) {
  const names = [];
  visit(document, { Field: (node) => void names.push(node.name.value) });
  return pick(names, next);
}
