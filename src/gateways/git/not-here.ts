import type { ServerResponse } from 'node:http';
import { answer } from './http.ts';

/** What a guest asks the gateway for that is another repository's or another server's: refused, with the rule that opens it. */
const RULE =
  'security: {allowed_network_hosts: [{host: HOST, methods: [GET, POST], paths: [/TEAM/REPOSITORY.git/info/refs, /TEAM/REPOSITORY.git/git-upload-pack]}]}';

/** A submodule with a relative address asks here for a neighbour of `/origin`. */
export function elsewhere(url: string): string {
  const wanted = /^\/([^?#]{1,200}?)\/(?:info\/refs|git-upload-pack)(?:\?|$)/.exec(url)?.[1];
  if (wanted === undefined || wanted === 'origin') return 'the only repository here is /origin';
  return `the only repository here is /origin, and not ${wanted}: another one, such as a submodule's, is fetched from its own host (git config submodule.NAME.url https://HOST/TEAM/REPOSITORY.git) where the policy has ${RULE}`;
}

/** The error document of Git LFS (git-lfs, docs/api/batch.md), which its client shows. */
export function refuseLfs(response: ServerResponse): void {
  const message =
    'cordon: files of Git LFS are not served here, and stay pointers. Where they are needed, set lfs.url to the forge (git config lfs.url https://HOST/TEAM/REPOSITORY.git/info/lfs) and have in the policy security: {allowed_network_hosts: [HOST]}';
  const body = JSON.stringify({ message, documentation_url: 'docs/remote.md' });
  answer(response, 403, 'application/vnd.git-lfs+json', body);
}
