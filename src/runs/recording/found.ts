/** What a replay starts from: the commit of then, from what lies on this machine. */
import { stat } from 'node:fs/promises';
import { git } from '../../base/git.ts';
import { openKeptMirror } from '../../forge/index.ts';
import type { RunRecord } from '../../store/index.ts';
import { discover, type Found } from '../discover.ts';
import type { RunRequest } from '../request.ts';
import type { System } from '../system.ts';
import type { Repository } from '../workspace.ts';
import { NotReplayableError } from './not-replayable.ts';
import type { Tape } from './tape.ts';

/** Throws `NotReplayableError` where the commit is not here; nothing is fetched. */
export async function findAgain(system: System, record: RunRecord, request: RunRequest, tape: Tape): Promise<Found> {
  const { documents, branch } = tape.start;
  if (request.repo !== null) {
    const repository = await fromMirror(system, record, { ...request, repo: request.repo });
    return { repository: { ...repository, baseBranch: branch }, document: documents.repository, tape };
  }
  const found = await fromWorkspace(record, request);
  const baseBranch = tape.blank ? await branchOf(request, found.repository) : branch;
  return { repository: { ...found.repository, baseBranch }, document: documents.repository ?? found.document, tape };
}

async function fromWorkspace(record: RunRecord, request: RunRequest): Promise<Found> {
  const base = record.base ?? request.base;
  const found = await discover({ ...request, policyFile: null, base }).catch((cause) => {
    throw new NotReplayableError(record.id, 'recording missing', `its commit is not to be had: ${cause.message}`, {
      cause,
      remedy: `have the commit ${base} in ${request.workspace} again`,
    });
  });
  if (found === null) throw new RangeError('a local repository is found or refused');
  return found;
}

/** Of a run that kept no recording, for it heard nothing: what it named then, if that is still there. */
async function branchOf(request: RunRequest, { baseBranch }: Repository): Promise<string | null> {
  const found = await discover({ ...request, policyFile: null }).catch(() => null);
  return found?.repository.baseBranch ?? baseBranch;
}

async function fromMirror(
  system: System,
  record: RunRecord,
  { repo, base: named }: RunRequest & { readonly repo: NonNullable<RunRequest['repo']> },
): Promise<Repository> {
  const base = record.base ?? named;
  const again = {
    remedy: `cordon run --repo ${repo.scheme}://${repo.name} … brings it, while a branch or tag leads to it`,
  };
  const mirror = await openKeptMirror(system.mirrors, repo);
  if (mirror === null) {
    throw new NotReplayableError(record.id, 'recording missing', `this machine keeps no mirror of ${repo.name}`, again);
  }
  const { place, objectsDir, objectFormat, refs, forge, release } = mirror;
  try {
    // With all that the checkout needs of it: a tree or a blob that is gone would be noticed too late.
    const there = await git(place, ['cat-file', '-e', `${base}^{tree}`], { timeout: 20_000 });
    if (there.exitCode !== 0) {
      const what = `its commit ${base} is no longer in the mirror of ${repo.name}`;
      throw new NotReplayableError(record.id, 'recording missing', what, again);
    }
    const { uid, gid } = await stat(place.gitDir);
    const { gitDir } = place;
    const folders = { dir: gitDir, gitDir, commonDir: gitDir, objectsDir };
    const commits = { objectFormat, base, policyCommit: base, baseBranch: null, shallow: [] };
    const remote = { forge, refs, close: release };
    return { name: repo.name, ...folders, ...commits, owner: { uid, gid }, notices: [], remote };
  } catch (error) {
    release();
    throw error;
  }
}
