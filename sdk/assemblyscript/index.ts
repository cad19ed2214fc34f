// The entry point of the package: the compiler looks for `index.ts` in a package's own folder.

export * from "./assembly/index";
