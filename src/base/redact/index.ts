export { COLOUR, ColouredRedaction } from './coloured.ts';
export { encodingsOf } from './encodings.ts';
export { Redaction } from './redaction.ts';
export { LONGEST_SECRET, Redactor, SHORTEST_SECRET } from './redactor.ts';
export { findCredential } from './shapes.ts';
