/** The bytes of an answer, in order, on their way to the guest: the gateway that passes them on is not the one that knows the values. */
export interface AnswerWatch {
  /** What can go on: all but what may be the beginning of a value. Nothing of it may, once `repeated` is set. */
  pass(piece: Buffer, last: boolean): readonly Buffer[];
  /** True while `quiet` has something. */
  readonly waiting: boolean;
  /**
   * For when nothing more comes for a while: what was held back and is too short to be of use, which is remembered as the beginning
   * of what may come. Empty where it is longer, and once `repeated` is set.
   */
  quiet(): Buffer;
  /** The name of the secret whose value is in what was passed; null while there is none. */
  readonly repeated: string | null;
  /** True where that one is sent as a cookie. */
  readonly cookie: boolean;
  /** Resolves when it is in the record that the host repeated it; rejects when it cannot be. */
  alarm(where: string): Promise<void>;
}
