/**
 * Loaded into a run before everything else (`--require`): writes at its end, to the file named by CORDON_BENCH_PHASES, when what had
 * happened. One JSON object: milliseconds since the process was started, and the main thread's own processor time until then.
 */
const { channel } = require('node:diagnostics_channel');
const { isMainThread } = require('node:worker_threads');

if (isMainThread) {
  const marks = {};
  const mark = (name) => {
    if (name in marks) return;
    const { user, system } = process.threadCpuUsage();
    marks[name] = [performance.now(), (user + system) / 1000];
  };
  mark('node');
  channel('worker_threads').subscribe(() => mark('asked'));
  channel('tracing:module.require:end').subscribe(({ id }) => {
    if (/run-path/.test(id)) mark('loaded'); // the chunk that the pipeline is in
  });
  channel('child_process').subscribe(({ process: child }) => {
    queueMicrotask(() => {
      if (child.spawnargs.at(-1) !== 'outer') return;
      mark('decided');
      child.once('exit', () => mark('ran'));
    });
  });
  process.once('exit', () => {
    mark('closed');
    require('node:fs').writeFileSync(process.env.CORDON_BENCH_PHASES, JSON.stringify(marks));
  });
}
