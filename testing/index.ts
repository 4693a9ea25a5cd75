/** What `threadline/testing` offers to teams for their own agents, tools and plugins: see `docs/testing.md`. */
export { allFaults } from './all-faults.ts'
export { namedBy, type Fault, type Kill, type Observation, type Provoked } from './fault.ts'
export type { IsolationSubject } from './isolation/subject.ts'
export { findStray, newMarker, type Marked } from './markers.ts'
export type { SayOptions, StageUser } from './stage-user.ts'
export { openStage, type Stage, type StageOptions } from './stage.ts'
export {
  assertIsolated, IsolationError, testIsolation,
  type IsolationOptions, type IsolationReport, type Visitor
} from './test-isolation.ts'
export type { SeenViolation } from './watch-violations.ts'
