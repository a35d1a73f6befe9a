/** What reading documents takes: YAML, their schema and their tests. A file of its own, because most runs have no document. */
export { readTests, runTests, testProblem } from './inline-tests.ts';
export { readDocument } from './schema.ts';
