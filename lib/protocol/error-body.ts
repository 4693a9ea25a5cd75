import { Type, type Static } from 'typebox'
import { errorCodes, type ErrorCode } from '../errors.ts'

/** What every refused or failed HTTP request is answered with. */
export const ErrorBody = Type.Object({
  error: Type.Object({
    code: Type.Unsafe<ErrorCode>(Type.String({ enum: [...errorCodes] })),
    message: Type.String(),
    request_id: Type.String({ description: 'Also in the header x-request-id, in the logs and in the trace' })
  })
}, { description: 'Refused, or failed' })
export type ErrorBody = Static<typeof ErrorBody>
