import t from 'tap'
import { testFaultRows } from '../support/fault-rows.ts'

testFaultRows(t, { from: 0, every: 3 })
