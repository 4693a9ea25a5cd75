import t from 'tap'
import { testFaultRows } from '../support/fault-rows.ts'

testFaultRows(t, { from: 1, every: 3 })
