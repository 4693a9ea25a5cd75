export { default } from '../../../agents/assistant.ts'
