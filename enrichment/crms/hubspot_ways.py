"""The three ways to connect HubSpot. docs/crms.md says more about each."""

from __future__ import annotations

from enrichment.crms.ways import URL, Paste, Step, Way

SCOPES = ("crm.objects.contacts.read", "crm.objects.contacts.write", "crm.schemas.contacts.write")
LAST = Step(
    "On the machine, check the token and learn the account's fields. The command may be repeated, and costs nothing.",
    (Paste("Command", "ringback connect hubspot"),),
)

SERVICE_KEY = Way(
    "A service key",
    "On every plan. New contacts are found by the sweep, within a minute or two.",
    (
        Step(
            "In HubSpot, open Development > Keys > Service keys, choose Create, and add the scopes.",
            tuple(Paste("Scope", scope) for scope in SCOPES),
        ),
        Step("Copy the key to `HUBSPOT_ACCESS_TOKEN` of every submitter and reconciler, and start them again."),
        LAST,
    ),
)
APP = Way(
    "An app of your own",
    "Contacts come within seconds, as signed events. It needs HubSpot's command line, 7.6 or newer, and the right to "
    "install apps.",
    (
        Step(
            "On the machine, write the app's project folder for this address.",
            (Paste("Command", "ringback connect hubspot --project ringback-app"),),
        ),
        Step(
            "Upload it. `hs account auth` opens a browser, once.",
            (
                Paste("Command", "npm install -g @hubspot/cli"),
                Paste("Command", "hs account auth"),
                Paste("Command", "cd ringback-app && hs project upload && hs project open"),
            ),
        ),
        Step(
            "The app sends its events here; the project folder has this address already.", (Paste("Target URL", URL),)
        ),
        Step(
            "In the project, open the app, then Distribution and Install now. From its tab Auth, copy the access token "
            "to `HUBSPOT_ACCESS_TOKEN` of every submitter and reconciler, and the client secret to "
            "`HUBSPOT_CLIENT_SECRET` of every receiver. Start them again.",
        ),
        Step(
            "On the machine, with both set, check the token, and send a signed test event through this address.",
            (Paste("Command", "ringback connect hubspot"),),
        ),
    ),
)
WORKFLOW = Way(
    "A workflow, and a service key",
    "The workflow decides which contacts are asked about. It needs Data Hub Professional or Enterprise.",
    (
        Step("Set up a service key, as above."),
        Step(
            "Open Automation > Workflows, create a contact workflow, press + and choose Data ops > Send a webhook.",
            (
                Paste("Method", "POST"),
                Paste("Webhook URL", URL),
                Paste("Authentication type", "API key"),
                Paste("API key name", "Authorization"),
                Paste("API key location", "Request header"),
            ),
        ),
        Step(
            "The API key value is the word `Bearer`, a space, and one of `API_TOKENS` with the scope `events`. Type it "
            "there: it is not shown here.",
        ),
        Step(
            "The request body is customized: the property Record ID, under this name.",
            (Paste("Name of Record ID", "hs_object_id"),),
        ),
    ),
)
WAYS = (SERVICE_KEY, APP, WORKFLOW)
