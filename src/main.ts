/**
 * The command line's entry. It starts in a few milliseconds: what only asks for the version loads nothing, and an old Node
 * is told so before it meets code that it cannot read. No static imports here, for both reasons; and nothing is awaited outside
 * of a function, since the package's code is CommonJS.
 */
const oldest = 24;
const major = Number(process.versions.node.split('.')[0]);
const isBuilt = import.meta.filename.endsWith('.js');

function version(): string {
  const { readFileSync } = process.getBuiltinModule('node:fs');
  const { version } = JSON.parse(readFileSync(`${import.meta.dirname}/../package.json`, 'utf8')) as { version: string };
  return version;
}

async function start(): Promise<void> {
  let ended = false;
  process.exitCode = 70; // a fault of Cordon's, like any that nobody foresaw
  process.once('exit', (code) => {
    if (!ended && code === 70)
      process.stderr.write(
        'cordon: stopped before it had come to an end: nothing was left that it could have waited for\n',
      );
  });
  if (isBuilt) (await import('./base/code-cache.ts')).useCodeCache(import.meta.dirname);
  const { runCommandLine } = await import('./cli/command-line.ts');
  process.exitCode = await runCommandLine(process.argv.slice(2), version());
  ended = true;
}

if (!(major >= oldest)) {
  process.stderr.write(
    `cordon: needs Node ${oldest} or later, and this is ${process.version} (${process.execPath})\n` +
      `  → install it, for example with \`npm install -g node@${oldest}\`, and see that it comes first on PATH\n`,
  );
  process.exitCode = 6;
} else if (process.argv.length === 3 && (process.argv[2] === '--version' || process.argv[2] === '-V')) {
  process.stdout.write(`cordon ${version()}\n`);
} else {
  void start();
}

export {};
