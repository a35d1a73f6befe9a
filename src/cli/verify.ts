import type { Command } from 'commander';
import { type Context, newCommand } from './context.ts';
import type { OutputOptions } from './output.ts';

export interface VerifyOptions extends OutputOptions {
  readonly workspace?: string;
  readonly key?: string;
  readonly range?: string;
  readonly bundle?: string;
  readonly ref?: string;
  readonly repo?: string;
  readonly policyDigest?: readonly string[];
  readonly agents?: readonly string[];
  readonly requireSignature?: boolean;
  readonly content?: boolean;
  readonly preReceive?: boolean;
}

const collect = (value: string, before: readonly string[] = []) => [...before, value];

const HELP = `
Offline: it reads a clone with the proofs fetched (git fetch origin 'refs/attestations/*:refs/attestations/*') and believes
nothing but the public key file, which \`cordon attest key\` writes where the runs are made.
Exit code 0 when everything is proven, 1 when something is not: the link that broke is named.`;

export function command(context: Context): Command {
  return newCommand()
    .argument('[commit]', 'a commit, branch or tag (default: HEAD)')
    .option('-w, --workspace <dir>', 'a clone (default: the current one)')
    .option('--key <file>', 'the public key file (default: $CORDON_TRUST, else this installation’s own keys)')
    .option('--range <a..b>', 'every commit that B has and A has not')
    .option('--bundle <file>', 'the proof, instead of those in the clone; alone, it is checked without a clone')
    .option('--ref <ref>', 'it must have been authorised for this branch')
    .option('--repo <name>', 'and for this repository: any address of it')
    .option('--policy-digest <digest>', 'and under this policy; repeatable: under one of them', collect)
    .option(
      '--agents <address>',
      'only commits by such authors (*@agents.acme.example), or that name a run, need a proof; repeatable',
      collect,
    )
    .option('--require-signature', 'refuse commits that the run did not sign')
    .option('--content', 'hash all files of the commit as well')
    .option('--pre-receive', 'judge a push, as git’s hook of that name tells it on standard input')
    .addHelpText('after', HELP)
    .action(async (commit: string | undefined, options: VerifyOptions) =>
      (await import('./verify-commits.ts')).verify(context, commit, options),
    );
}
