/** What a run got from package registries, written down when nothing of the agent's runs any more. */
import { mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { sha256Hex } from '../base/digest.ts';
import { writeDurably } from '../base/durable-file.ts';
import { SBOM_MEDIA_TYPE, sbomOf } from '../gateways/egress/packages/sbom.ts';
import { redactedJson } from './redaction.ts';
import type { RunScope } from './scope.ts';

export const SBOM_FILE = 'sbom.cdx.json';

/** As an artifact of the run and as content beside the log. Nothing that comes later is let in. */
export async function recordDependencies(scope: RunScope): Promise<void> {
  const { system, run, dir, repository, loaded, redactor } = scope;
  const packages = scope.packages?.close() ?? [];
  const document = sbomOf({
    runId: run.id,
    subject: basename(repository.name),
    policyDigest: loaded.policy.digest,
    at: system.clock.now(),
    packages,
  });
  const bytes = Buffer.from(`${JSON.stringify(redactedJson(document, redactor), null, 2)}\n`);
  const folder = join(dir, 'artifacts');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeDurably(join(folder, SBOM_FILE), bytes);
  const sbom = sha256Hex(bytes);
  const content = await system.content.put(run.id, bytes, { mediaType: SBOM_MEDIA_TYPE, maxBytes: bytes.length });
  await run.log.append({
    type: 'dependencies.recorded',
    action: null,
    resource: { count: packages.length, sbom, format: 'CycloneDX 1.6' },
    content,
  });
  run.facts.sbomDigest = sbom;
}
