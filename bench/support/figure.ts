/** Something that is measured once in each round, and compared with another figure of the same round. */
export interface Figure {
  readonly id: string
  readonly title: string
  /** The figure that it is compared with. */
  readonly base: string
  measure (): Promise<number>
}
