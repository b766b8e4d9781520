// The service accepts and refuses the same documents as graphql-js.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { buildClientSchema, getIntrospectionQuery, parse, validate } from "graphql";
import { FAULTS, garble, Generator, random } from "./documents.mjs";
import { start } from "./service.mjs";

/** Documents for each schema; each is sent as it is, with one fault, and garbled. */
const DOCUMENTS = Number(process.env.DOCUMENTS ?? 1500);

/** Differences that are meant, each with its reason. */
const DIFFERENCES = [
  {
    reason: "a literal that is no DateTime is a wrong value, not a mistake in the program; graphql-js does not know the scalar's rules",
    applies: (document, ours, theirs) => ours.code === "BAD_USER_INPUT" && theirs.message === "valid" && /DateTime|due(Before|After|At)/.test(document),
  },
  {
    reason: "apollo-compiler refuses a subscription that asks for its one field twice; nobody does",
    applies: (document, ours, theirs) => / can only have one root field\.$/.test(ours.message) && theirs.message === "valid",
  },
  {
    reason: "September 2025 forbids @skip and @include at the root of a subscription (5.2.4.1); graphql-js 16 does not",
    applies: (document, ours) => / can not specify @skip or @include on root fields\./.test(ours.message),
  },
];

let services;
before(async () => {
  services = { "todo-api": await start(), test_schema: await start("examples/test_schema") };
});
after(() => Promise.all(Object.values(services ?? {}).map((service) => service.stop())));

async function send(url, body) {
  const headers = { "content-type": "application/json" };
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  return response.json();
}

/** The verdicts of a service. No operation has this name: what is valid is not executed. */
async function verdicts(url, documents) {
  const answers = [];
  for (let at = 0; at < documents.length; at += 10) {
    const batch = documents.slice(at, at + 10).map((query) => ({ query, operationName: "NoSuchOperation" }));
    answers.push(...(await send(url, batch)));
  }
  return answers.map((answer) => ({ code: answer.errors[0].extensions.code, message: answer.errors.map((error) => error.message).join(" ") }));
}

function reference(schema, document) {
  let parsed;
  try {
    parsed = parse(document);
  } catch (error) {
    return { code: "GRAPHQL_PARSE_FAILED", message: error.message };
  }
  let error;
  try {
    [error] = validate(schema, parsed);
  } catch (thrown) {
    // The subscription rule of graphql-js evaluates @skip and @include, but without variables.
    error = thrown;
  }
  return error
    ? { code: "GRAPHQL_VALIDATION_FAILED", message: error.message }
    : { code: "OPERATION_RESOLUTION_FAILURE", message: "valid" };
}

for (const name of ["todo-api", "test_schema"]) {
  test(`${name} and graphql-js agree on ${DOCUMENTS * 3} documents`, async () => {
    const { url } = services[name];
    const query = getIntrospectionQuery({ specifiedByUrl: true, directiveIsRepeatable: true, schemaDescription: true, inputValueDeprecation: true });
    const { data } = await send(url, { query });
    const schema = buildClientSchema(data);
    const documents = [];
    for (let seed = 1; seed <= DOCUMENTS; seed += 1) {
      const valid = new Generator(schema, seed).document();
      documents.push({ what: "valid", seed, document: valid });
      const next = random(seed * 7919);
      const faults = Object.entries(FAULTS);
      for (let tries = 0; tries < 20; tries += 1) {
        const [what, fault] = faults[Math.floor(next() * faults.length)];
        const faulty = fault(valid, next);
        if (faulty && faulty.trim()) {
          documents.push({ what, seed, document: faulty });
          break;
        }
      }
      documents.push({ what: "garbled", seed, document: garble(valid, next) });
    }
    const ours = await verdicts(url, documents.map(({ document }) => document));
    const differing = [];
    const counts = {};
    documents.forEach(({ what, seed, document }, at) => {
      const theirs = reference(schema, document);
      counts[theirs.code] = (counts[theirs.code] ?? 0) + 1;
      if (ours[at].code === theirs.code) return;
      if (DIFFERENCES.some(({ applies }) => applies(document, ours[at], theirs))) return;
      differing.push(`${what} (seed ${seed}): ${ours[at].code} ${ours[at].message}\n  graphql-js: ${theirs.code} ${theirs.message}\n  ${document.replace(/\s+/g, " ").slice(0, 600)}`);
    });
    console.log(`${name}:`, counts);
    assert.ok(counts.OPERATION_RESOLUTION_FAILURE > DOCUMENTS * 0.9, "most documents should be valid as they are made");
    assert.equal(differing.length, 0, `${differing.length} verdicts differ:\n${differing.slice(0, 12).join("\n")}`);
  });
}
