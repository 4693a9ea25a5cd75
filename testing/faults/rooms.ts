/**
 * Where runs of two users meet, by a name that their messages carry. It is what a module variable of a team's code is: shared by all who
 * are served, whoever they are.
 */
export class Rooms<Room> {
  readonly #rooms = new Map<string, Room>()
  readonly #furnish: () => Room

  constructor (furnish: () => Room) {
    this.#furnish = furnish
  }

  of (context: Readonly<Record<string, unknown>>): Room {
    const name = String(context['room'])
    const room = this.#rooms.get(name) ?? this.#furnish()
    this.#rooms.set(name, room)
    return room
  }
}
