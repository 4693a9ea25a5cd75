import { createRecorder } from '../recorder.ts'

export default createRecorder(process.env['LEDGER_URL'] ?? 'http://127.0.0.1:1/ledger', process.env['OPENAI_COMPATIBLE_API_KEY'] ?? '')
