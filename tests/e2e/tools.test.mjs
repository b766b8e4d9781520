// Compilers and generators of clients take the committed schema as it is.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { workspace } from "./tools.mjs";

const COMPILER = {
  compilerOptions: { target: "es2022", module: "preserve", strict: true, noEmit: true, skipLibCheck: true, types: [] },
  include: ["src"],
};
/** Compiles only if `createdAt`, a `DateTime`, has this type. */
const check = (type) => `
  export type Node = ResultOf<typeof Todos>["todos"]["nodes"][number];
  export const title = (node: Node): string => node.title;
  ${type === "unknown" ? "// @ts-expect-error" : ""}
  export const createdAt = (node: Node): string => node.createdAt;`;

test("relay-compiler takes @refetchable on a fragment of a todo", async () => {
  const tools = await workspace({
    "relay.config.json": { src: "src", schema: "schema.graphql", language: "typescript", artifactDirectory: "generated" },
    "src/Todo.ts": `import { graphql } from "relay-runtime";
      graphql\`fragment Todo_todo on Todo @refetchable(queryName: "TodoRefetchQuery") { title dueAt }\`;`,
    "generated/.keep": "",
  });
  await tools.run("relay-compiler", "relay.config.json");
  assert.match(await readFile(tools.path("generated/TodoRefetchQuery.graphql.ts"), "utf8"), /node\(id: \$id\)/);
  await tools.remove();
});

for (const [type, config] of [
  ["unknown", {}],
  ["string", { scalars: { DateTime: "string" } }],
]) {
  test(`GraphQL Code Generator's client preset makes DateTime ${type} with ${JSON.stringify(config)}`, async () => {
    const tools = await workspace({
      "codegen.json": { schema: "schema.graphql", documents: "src/*.ts", generates: { "src/gql/": { preset: "client", config } } },
      "tsconfig.json": COMPILER,
      "src/todos.ts": `import type { ResultOf } from "@graphql-typed-document-node/core";
        import { graphql } from "./gql";
        const Todos = graphql(\`query Todos { todos(first: 2) { nodes { title createdAt } } }\`);
        ${check(type)}`,
    });
    await tools.run("graphql-codegen", "--config", "codegen.json");
    await tools.run("tsc", "--project", "tsconfig.json");
    await tools.remove();
  });

  const scalars = type === "string" ? "scalars: { DateTime: string }" : "";
  test(`gql.tada makes DateTime ${type} with {${scalars}}`, async () => {
    const plugin = { name: "gql.tada/ts-plugin", schema: "schema.graphql", tadaOutputLocation: "src/graphql-env.d.ts" };
    const tools = await workspace({
      "tsconfig.json": { ...COMPILER, compilerOptions: { ...COMPILER.compilerOptions, plugins: [plugin] } },
      "src/todos.ts": `import { initGraphQLTada, type ResultOf } from "gql.tada";
        import type { introspection } from "./graphql-env";
        const graphql = initGraphQLTada<{ introspection: introspection; ${scalars} }>();
        const Todos = graphql(\`query Todos { todos(first: 2) { nodes { title createdAt } } }\`);
        ${check(type)}`,
    });
    await tools.run("gql.tada", "generate-output");
    await tools.run("tsc", "--project", "tsconfig.json");
    await tools.remove();
  });
}
