// The compiler plugin that makes the exported functions of the entry file callable.
//
// For each of them it writes an entry of the guest ABI, without parameters and result, into a
// separate source: the entry fills the parameters, calls the function and replies its result.
//
// The decorators `@on("session:*", "expired")`, `@every("5m")` and `@cron("0 3 * * *")` of these functions
// declare triggers and schedules. They become lines of a custom section, which hosts read.

import * as assemblyscript from "assemblyscript";
import { Transform } from "assemblyscript/transform";

const { CommonFlags, LiteralKind, NodeKind, SourceKind } = assemblyscript;

const PACKAGE = "@ferrite/wasm-sdk";

/** The custom section with the declared triggers and schedules. */
const AUTOMATION_SECTION = "ferrite.automation";

/** Exports with another meaning to a host. */
const RESERVED = new Set(["memory", "alloc", "dealloc", "_initialize", "_start"]);

/** Declarations whose names can occur in a parameter's or a result's type. */
const TYPES = new Set([
  NodeKind.ClassDeclaration,
  NodeKind.EnumDeclaration,
  NodeKind.InterfaceDeclaration,
  NodeKind.TypeDeclaration,
  NodeKind.NamespaceDeclaration,
]);

export default class FerriteTransform extends Transform {
  afterParse(parser) {
    const sdk = sdkPath(parser.sources);
    const lines = [`import { begin, finish, finishWith, ready, take } from "${sdk}/entry";`, `import "${sdk}/library";`];
    let count = 0;
    this.declarations = [];
    for (const source of parser.sources) {
      if (source.sourceKind !== SourceKind.UserEntry) continue;
      // The entries import its exports; the host no longer sees them.
      source.sourceKind = SourceKind.User;
      lines.push(...types(source));
      for (const statement of source.statements) {
        if (statement.kind === NodeKind.FunctionDeclaration && statement.is(CommonFlags.Export)) {
          lines.push(entry(statement, source, count++));
          this.declarations.push(...declarations(statement, source));
        }
      }
    }
    if (count === 0) {
      throw new Error("the entry file exports no function, so there would be nothing to call");
    }
    for (const name of ["abort", "trace", "seed"]) {
      assemblyscript.addGlobalAlias(this.program.options, name, `${sdk}/library/${name}`);
    }
    replaceBindings(parser, sdk);
    parser.parseFile(lines.join("\n"), "ferrite-entries.ts", true);
  }

  afterCompile(module) {
    if (this.declarations.length === 0) return;
    const text = this.declarations.map((line) => `${line}\n`).join("");
    module.addCustomSection(AUTOMATION_SECTION, new TextEncoder().encode(text));
  }
}

/** Takes the decorators that declare triggers and schedules from a function; returns their lines. */
function declarations(declaration, source) {
  const entry = declaration.name.text;
  const lines = [];
  const others = (declaration.decorators ?? []).filter((decorator) => {
    const kind = text(decorator.name).replace(/^@/, "");
    if (!["on", "every", "cron"].includes(kind)) return true;
    const fail = (why) => {
      throw new Error(`${source.normalizedPath}: @${kind} of ${entry}: ${why}`);
    };
    const given = (decorator.args ?? []).map((argument) => texts(argument) ?? fail("write texts in quotes"));
    lines.push(line(kind, entry, given, fail));
    return false;
  });
  declaration.decorators = others.length > 0 ? others : null;
  return lines;
}

/** The line of a declaration, from the arguments of its decorator. */
function line(kind, entry, given, fail) {
  const list = (option, words) => (words?.length ? [option, ...words.map(word)] : []);
  if (kind === "on") {
    const [keys, events, when = ["after"]] = given;
    if (!keys?.length || !events?.length || given.length > 3) {
      fail('write @on("session:*", "expired"), with "before" as a third argument if it may refuse writes');
    }
    if (when.length !== 1 || !["before", "after"].includes(when[0])) fail('the third argument is "before" or "after"');
    const before = when[0] === "before" ? ["BEFORE"] : [];
    return ["on", word(entry), ...list("KEYS", keys), ...list("EVENTS", events), ...before].join(" ");
  }
  const [time, keys, args, missed = ["skip"]] = given;
  if (time?.length !== 1 || given.length > 4) {
    fail(`write @${kind}("${kind === "every" ? "5m" : "0 3 * * *"}"); keys, arguments and "once" may follow`);
  }
  if (missed.length !== 1 || !["skip", "once"].includes(missed[0])) fail('the fourth argument is "skip" or "once"');
  const once = missed[0] === "once" ? ["MISSED", "once"] : [];
  return [kind, word(entry), word(time[0]), ...once, ...list("KEYS", keys), ...list("ARGS", args)].join(" ");
}

/** A word of a declaration, in quotes where it needs them. */
function word(text) {
  const plain = /^[!#-~][!-~]*$/.test(text) && !/^(KEYS|EVENTS|BEFORE|AFTER|MISSED|ARGS)$/i.test(text);
  return plain ? text : JSON.stringify(text);
}

/** The text of a literal, or the texts of an array of them; null for anything else. */
function texts(expression) {
  if (expression.kind !== NodeKind.Literal) return null;
  if (expression.literalKind === LiteralKind.String) return [expression.value];
  if (expression.literalKind !== LiteralKind.Array) return null;
  const elements = expression.elementExpressions.map(texts);
  return elements.every((element) => element?.length === 1) ? elements.flat() : null;
}

/** Lets the library take what it would import from a browser from this package instead. */
function replaceBindings(parser, sdk) {
  const bindings = parser.sources.find((source) => source.internalPath === "~lib/bindings/dom");
  if (!bindings) return;
  const replaced = ["Date", "performance", "crypto", "console"];
  const declares = ({ kind, name }) => kind === NodeKind.NamespaceDeclaration && replaced.includes(name.text);
  const path = "~lib/ferrite-bindings";
  parser.parseFile(`export { ${replaced.join(", ")} } from "${sdk}/library";`, `${path}.ts`, false);
  const replacing = parser.sources.find((source) => source.internalPath === path);
  bindings.statements = bindings.statements.filter((it) => !declares(it)).concat(replacing.statements);
  parser.sources.splice(parser.sources.indexOf(replacing), 1);
}

/** Makes the types that a source declares or imports available to the entries' source. */
function types(source) {
  const lines = [];
  const declared = [];
  for (const statement of source.statements) {
    if (TYPES.has(statement.kind)) {
      statement.flags |= CommonFlags.Export;
      declared.push(statement.name.text);
    } else if (statement.kind === NodeKind.Import) {
      const from = JSON.stringify(importable(statement.internalPath));
      if (statement.namespaceName) {
        lines.push(`import * as ${statement.namespaceName.text} from ${from};`);
      } else if (statement.declarations?.length) {
        const names = statement.declarations.map((it) => `${it.foreignName.text} as ${it.name.text}`);
        lines.push(`import { ${names.join(", ")} } from ${from};`);
      }
    }
  }
  if (declared.length > 0) {
    lines.push(`import { ${declared.join(", ")} } from "${importable(source.internalPath)}";`);
  }
  return lines;
}

/** The path by which a source in the root folder imports the source of an internal path. */
function importable(internalPath) {
  return internalPath.startsWith("~lib/") ? internalPath : `./${internalPath}`;
}

/** The path of this package's sources in the program; a default if it does not import them. */
function sdkPath(sources) {
  const own = sources.find((source) => source.internalPath.endsWith("wasm-sdk/assembly/index"));
  return own?.internalPath.replace(/\/index$/, "") ?? `~lib/${PACKAGE}/assembly`;
}

/** The source text of a node. */
function text(node) {
  return node.range.source.text.substring(node.range.start, node.range.end);
}

function entry(declaration, source, index) {
  const name = declaration.name.text;
  const where = `${source.normalizedPath}: ${name}`;
  if (RESERVED.has(name) || name.startsWith("__") || name.startsWith("cabi_")) {
    throw new Error(`${where} is reserved for the toolchain; choose another name`);
  }
  if (declaration.typeParameters?.length) {
    throw new Error(`${where} cannot be generic: a caller sends bytes, not types`);
  }
  const { parameters, returnType } = declaration.signature;
  const described = parameters.map((parameter) => ({
    name: parameter.name.text,
    type: text(parameter.type).replace(/\s+/g, " "),
  }));
  const signature = `${name}(${described.map(({ name, type }) => `${name}: ${type}`).join(", ")})`;
  const result = text(returnType);
  const values = described.map((_, i) => `value${i}`);
  const takes = described.map(
    ({ name, type }, i) =>
      `  const ${values[i]} = take<${type}>(${JSON.stringify(name)}, ${JSON.stringify(type)});`,
  );
  const call = `function${index}(${values.join(", ")})`;
  const run =
    result === "void"
      ? [`  if (ready()) ${call};`, "  finish();"]
      : [`  if (ready()) finishWith<${result}>(${call});`, "  else finish();"];
  return [
    `import { ${name} as function${index} } from "${importable(source.internalPath)}";`,
    `export function ${name}(): void {`,
    `  begin(${JSON.stringify(name)}, ${JSON.stringify(signature)});`,
    ...takes,
    ...run,
    "}",
  ].join("\n");
}
