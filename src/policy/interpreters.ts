/**
 * Programs that run programs of somebody else's choosing. A list of allowed commands bounds which files are executed; it
 * cannot bound what an interpreter is told to do. Saying so is part of the product: the boundary (files, network, secrets)
 * is what holds, the list of commands is a narrowing of it.
 */
interface Kind {
  readonly names: RegExp;
  /** After "it": what it does with text or files that the agent writes. */
  readonly does: string;
}

const kinds: readonly Kind[] = [
  {
    names: /^(ba|da|z|k|mk|fi|tc|c|a|ya)?sh[\d.]*$|^rbash$|^busybox$|^toybox$/,
    does: 'runs any script, and the built-in commands of a shell',
  },
  { names: /^(node|nodejs|deno|bun|qjs|d8)[\d.]*$/, does: 'runs any JavaScript' },
  { names: /^(npm|npx|pnpm|yarn|corepack)$/, does: 'runs the scripts of any package.json' },
  { names: /^(python|pypy)[\d.]*$|^(pip|uv|uvx|poetry|pytest|tox)[\d.]*$/, does: 'runs any Python' },
  {
    names:
      /^(perl|ruby|irb|php|lua|luajit|tclsh|wish|guile|Rscript|R|julia|escript|erl|elixir|iex|groovy|scala|kotlin|racket|sbcl|ghci|runghc|ocaml|swift|pwsh|rake|bundle|gem|osascript)[\d.]*$/,
    does: 'runs any script of its language',
  },
  { names: /^(java|jshell|jrunscript|mvn|gradle|ant|kotlinc?|sbt)$/, does: 'runs any class or build script' },
  { names: /^dotnet$|^mono$/, does: 'runs any .NET program' },
  { names: /^(make|gmake|ninja|cmake|bazel|meson|just|task|scons)$/, does: 'runs the commands of any build file' },
  {
    names: /^(gcc|g\+\+|cc|c\+\+|clang|clang\+\+|ld|gold|lld|rustc|tcc|as)(-[\d.]+)?$/,
    does: 'builds any program, and loads plug-ins it is pointed to',
  },
  { names: /^(cargo|go|rustup|zig)$/, does: 'builds and runs any program of its language, build scripts too' },
  {
    names: /^(git|hg|svn)$/,
    does: 'runs aliases, hooks, filters, pagers and helpers that the repository or its configuration names',
  },
  {
    names:
      /^(env|xargs|find|parallel|nohup|nice|timeout|time|setsid|stdbuf|script|expect|watch|flock|chroot|unshare|nsenter|strace|ltrace|gdb|valgrind|sudo|su|doas|start-stop-daemon|entr|run-parts|taskset|ionice|chrt|prlimit|setarch)$/,
    does: 'runs any other program that may run',
  },
  { names: /^(vi|vim|nvim|view|ex|emacs|nano|less|more|man|ed)([.-].*)?$/, does: 'runs commands from within' },
  { names: /^[gmno]?awk$|^sed$/, does: 'runs a language that starts programs' },
  {
    names: /^(tar|rsync|ssh|scp|sftp|zip|7z|cpio|dpkg|rpm|apt|apt-get)$/,
    does: 'starts the programs that its options name',
  },
  { names: /^ld(-linux.*)?\.so.*$|^ld-musl.*$/, does: 'loads and runs any program file it is given' },
  { names: /^(jq|sqlite3|psql|mysql|openssl)$/, does: 'reads, writes or loads files that its input names' },
];

/** What allowing this program really allows, as one sentence; undefined for a program that only does its own thing. */
export function interpreterNote(path: string): string | undefined {
  const name = path.split('/').at(-1) ?? '';
  const kind = kinds.find(({ names }) => names.test(name));
  if (kind === undefined) return undefined;
  return `${path} ${kind.does}: allowing it allows whatever the agent writes for it, within the boundary`;
}
