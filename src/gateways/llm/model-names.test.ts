import { expect, test } from 'vitest';
import { choiceOf, placesOf } from './model-names.ts';

const providers = [
  { name: 'acme', models: [{ name: 'small' }, { name: 'org/large' }] },
  { name: 'local', models: [{ name: 'small' }, { name: 'qwen' }] },
];
const aliases = new Map([
  ['fast', 'local/qwen'],
  ['team/fast', 'small'],
  ['lost', 'acme/none'],
]);
const names = (places: { provider: { name: string }; model: { name: string } }[]) =>
  places.map(({ provider, model }) => `${provider.name} ${model.name}`);

test.each([
  ['small', ['acme small', 'local small']],
  ['local/small', ['local small']],
  ['org/large', ['acme org/large']],
  ['acme/org/large', ['acme org/large']],
  ['fast', ['local qwen']],
  ['team/fast', ['acme small', 'local small']],
  ['lost', []],
])('the gateway has %s at %j', (name, places) => {
  expect(names(placesOf(name, providers, aliases))).toEqual(places);
});

test.each([
  ['acme/small', 'small', ['acme small']],
  ['acme/org/large', 'org/large', ['acme org/large']],
  ['acme/fast', 'fast', ['local qwen']],
  ['team/fast', 'team/fast', ['acme small', 'local small']],
  ['acme/lost', 'lost', []],
  ['acme/qwen', 'qwen', []],
  ['amce/fast', 'fast', []],
])('--model %s has the agent ask for %s, at %j', (asked, name, places) => {
  const choice = choiceOf(asked, providers, aliases);
  expect([choice.name, names(choice.places)]).toEqual([name, places]);
});
