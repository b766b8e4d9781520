// The prepared tabs, in the order of a first visit. GraphiQL titles a tab by the name of its operation.
const DOCUMENTS = [
  `# Creates an account and signs in.
mutation Register {
  register(input: {
    email: "ada@example.com"
    password: "correct horse battery staple"
    name: "Ada"
  }) {
    user { id email name }
    accessToken
    refreshToken
    expiresAt
  }
}
`,
  `# Opens another session.
mutation LogIn {
  login(input: {
    email: "ada@example.com"
    password: "correct horse battery staple"
  }) {
    user { id email name }
    accessToken
    refreshToken
    expiresAt
  }
}
`,
  `# Your account.
query Me {
  me { id email name createdAt updatedAt }
}
`,
  `# A page of your open todos.
# For the next one, pass endCursor as after.
query Todos($after: String) {
  todos(first: 20, after: $after, filter: { completed: false }) {
    nodes { id title dueAt priority tags version }
    pageInfo { hasNextPage endCursor }
  }
}
`,
  `# Creates a todo.
mutation CreateTodo {
  createTodo(input: {
    title: "Buy milk"
    priority: HIGH
    tags: ["home"]
  }) {
    todo { id title createdAt version }
  }
}
`,
  `# Live changes of your todos. Run it, and
# create a todo in another window.
subscription LiveChanges($after: ID) {
  todoChanged(after: $after) {
    eventId
    kind
    todoId
    todo { title completed version }
  }
}
`,
];

export const TABS = DOCUMENTS.map((query) => ({ query }));
