/**
 * Actor: who asks. Known by its token, never by what it says of itself.
 */
export interface Actor {
  readonly kind: 'agent' | 'operator' | 'service';
  readonly name: string;
}
