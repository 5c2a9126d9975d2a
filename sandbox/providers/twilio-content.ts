import { isObject, readJsonObject, replyJson, textOf } from '../http.ts'
import type { Call, Reply } from '../http.ts'
import { createHexId } from './twilio-account.ts'
import type { ContentTemplate, TwilioAccount } from './twilio-account.ts'
import { twilioError } from './twilio-rules.ts'

/** Twilio's Content API (content.twilio.com); null when the path is not one of it. */
export function answerContent(account: TwilioAccount, call: Call): Reply | null {
  const [, sid, rest = ''] =
    /^\/v1\/Content(?:AndApprovals)?(?:\/(HX[0-9a-f]{32}))?(\/.*)?$/i.exec(call.path) ?? []
  if (!call.path.startsWith('/v1/Content')) return null
  if (sid === undefined) return call.method === 'POST' ? create(account, call) : listAll(account)
  const template = account.templates.get(sid)
  if (!template) return null
  if (rest.startsWith('/ApprovalRequests')) return approve(template, call)
  if (call.method === 'DELETE') {
    account.templates.delete(sid)
    return { status: 204 }
  }
  return replyJson(200, describe(account, template))
}

function create(account: TwilioAccount, call: Call): Reply {
  const input = readJsonObject(call)
  if (!input || !isObject(input['types']) || typeof input['language'] !== 'string') {
    return twilioError(20001, 'language and types are required')
  }
  const text = input['types']['twilio/text']
  const template: ContentTemplate = {
    sid: createHexId('HX'),
    friendlyName: textOf(input['friendly_name']),
    language: input['language'],
    variables: isObject(input['variables']) ? input['variables'] : {},
    types: input['types'],
    body: isObject(text) && typeof text['body'] === 'string' ? text['body'] : null,
    approval: 'unsubmitted',
  }
  account.templates.set(template.sid, template)
  return replyJson(201, describe(account, template))
}

function approve(template: ContentTemplate, call: Call): Reply {
  if (call.method === 'POST') template.approval = 'approved'
  const whatsapp = { name: template.friendlyName, status: template.approval, rejection_reason: '' }
  return replyJson(
    call.method === 'POST' ? 201 : 200,
    call.method === 'POST' ? whatsapp : { sid: template.sid, whatsapp },
  )
}

function listAll(account: TwilioAccount): Reply {
  const contents = [...account.templates.values()].map((template) => describe(account, template))
  return replyJson(200, { contents, meta: { page: 0, page_size: 50, key: 'contents', next_page_url: null } })
}

function describe(account: TwilioAccount, template: ContentTemplate): Record<string, unknown> {
  return {
    sid: template.sid,
    account_sid: account.sid,
    friendly_name: template.friendlyName,
    language: template.language,
    variables: template.variables,
    types: template.types,
    approval_requests: { status: template.approval },
  }
}
