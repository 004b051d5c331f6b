// Reads a list of right words, then {"text": ...} a line, from stdin; writes its version, then a list of {rule, kind, message, problem, context} a line: what Harper objects to.
// usage: node harper.mjs FOLDER, where `npm install harper.js` was run.
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const folder = join(process.argv[2], "node_modules", "harper.js");
const { version, exports } = createRequire(import.meta.url)(join(folder, "package.json"));
const load = (name) => import(pathToFileURL(join(folder, exports[name].import)));
const { Dialect, LocalLinter } = await load(".");
const { binary } = await load("./binary");

const linter = new LocalLinter({ binary, dialect: Dialect.American });
await linter.setup();
console.log(JSON.stringify({ version }));
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
await linter.importWords(JSON.parse((await lines.next()).value));
for await (const line of lines) {
  const { text } = JSON.parse(line);
  const characters = [...text]; // Harper counts characters, not UTF-16 units
  const found = await linter.organizedLints(text);
  const issues = Object.entries(found).flatMap(([rule, lints]) =>
    lints.map((lint) => {
      const { start, end } = lint.span();
      const context = characters.slice(Math.max(0, start - 30), end + 30).join("");
      const issue = { rule, kind: lint.lint_kind(), message: lint.message(), problem: lint.get_problem_text(), context };
      lint.free();
      return issue;
    }),
  );
  console.log(JSON.stringify(issues));
}
