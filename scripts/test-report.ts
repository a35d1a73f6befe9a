/**
 * Counts the tests from the runner's own report and prints the last line of `npm test`.
 * `test-report.ts REPORT STATUS`: ends with the runner's STATUS, and with 1 when that is 0 but nothing was tested, or when
 * on CI a suite that proves the boundary did not run.
 */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

/** What must run on CI: these prove the boundary, and a machine that cannot run them proves nothing. */
const MANDATORY = [/^test\/attack\//, /^test\/conformance\/sandbox/, /^src\/sandbox\/drivers\//];

const [path = '', status = '1'] = process.argv.slice(2);
let report: Report;
try {
  report = JSON.parse(readFileSync(path, 'utf8')) as Report;
} catch {
  console.log('the test runner ended without a report');
  console.log('0 passed, 0 failed, 0 skipped');
  process.exit(Number(status) || 1);
}

const files = report.testResults.map((file) => ({
  name: relative(process.cwd(), file.name),
  // A file that cannot be loaded fails without a test of its own.
  broken: file.status === 'failed' && file.assertionResults.length === 0,
  passed: file.assertionResults.filter((test) => test.status === 'passed').length,
  skipped: file.assertionResults.filter((test) => !['passed', 'failed'].includes(test.status)),
}));
const failed = report.numFailedTests + files.filter((file) => file.broken).length;
const skipped = report.numPendingTests + report.numTodoTests;

for (const file of files) for (const test of file.skipped) console.log(`skipped: ${file.name}: ${test.fullName}`);
let exitCode = Number(status);
if (process.env.CI) {
  for (const file of files) {
    if (file.passed > 0 || file.skipped.length === 0 || !MANDATORY.some((pattern) => pattern.test(file.name))) continue;
    console.log(`${file.name} must run on CI, and was skipped as a whole`);
    exitCode ||= 1;
  }
}
if (report.numPassedTests + failed === 0) exitCode ||= 1;
if (failed > 0) exitCode ||= 1;
console.log(`${report.numPassedTests} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = exitCode;
