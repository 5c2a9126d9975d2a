/** What supabase-edge-function.ts uses of Supabase's runtime. */
declare const Deno: {
  env: { get(name: string): string | undefined }
  serve(handler: (request: Request) => Promise<Response>): void
}
