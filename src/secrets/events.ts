import type { ShownUse } from './use.ts';

/** What the broker has recorded, in the words of the audit log (audit/event-types.ts); never with a value. */
export type SecretEvent =
  | {
      readonly type: 'secret.granted';
      readonly run: string;
      readonly resource: {
        readonly secret: string;
        readonly grant: string;
        readonly use: ShownUse;
        readonly source: string;
        readonly version: string | null;
      };
    }
  | {
      readonly type: 'secret.used';
      readonly run: string;
      readonly resource: {
        readonly secret: string;
        readonly grant: string;
        readonly host: string | null;
        readonly header: string | null;
      };
    }
  | {
      readonly type: 'secret.revoked';
      readonly run: string;
      readonly resource: { readonly secret: string; readonly runs: string[]; readonly unanswered: string[] };
    }
  | {
      readonly type: 'secret.alarm';
      readonly run: string;
      readonly resource: {
        readonly secret: string;
        readonly grant: string | null;
        /** `path`, `body`, `header cookie`. */
        readonly where: string;
        readonly host: string | null;
        readonly what: string;
      };
    };
