# The function of the chains, its triggers, its timer and its accounts. Put rendered chains into ../chains first:
#
#   python -m orchestration.chain render nightly.yaml > orchestration/chain/chains/nightly.json
#   terraform -chdir=orchestration/chain/terraform init
#   terraform -chdir=orchestration/chain/terraform apply -var=project=my-project -var=region=us-central1 \
#     -var=job_account=sync@my-project.iam.gserviceaccount.com -var=templates=my-templates

terraform {
  required_version = ">= 1.5"
  required_providers {
    archive = {
      source  = "hashicorp/archive"
      version = "~> 2.4"
    }
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }
}

variable "project" {
  type = string
}

variable "region" {
  type = string
}

variable "job_account" {
  description = "The service account of the Dataflow jobs."
  type        = string
}

variable "templates" {
  description = "The bucket with the template files."
  type        = string
}

variable "schedules" {
  description = "When each chain starts: unix-cron by the name of the chain."
  type        = map(string)
  default     = {}
}

variable "time_zone" {
  type    = string
  default = "UTC"
}

variable "use_log_sink" {
  description = "Whether to hear of the ends of jobs from Cloud Logging too, where Dataflow's own events are not to be had."
  type        = bool
  default     = false
}

provider "google" {
  project = var.project
  region  = var.region
}

resource "google_project_service" "apis" {
  for_each = toset([
    "cloudbuild.googleapis.com", "cloudfunctions.googleapis.com", "cloudscheduler.googleapis.com",
    "dataflow.googleapis.com", "eventarc.googleapis.com", "pubsub.googleapis.com", "run.googleapis.com",
  ])
  service            = each.key
  disable_on_destroy = false
}

# One account for the function, its triggers and its timer.
resource "google_service_account" "chain" {
  account_id   = "sync-chain"
  display_name = "Sync to BigQuery, chains"
}

resource "google_project_iam_member" "chain" {
  for_each = toset(["roles/dataflow.developer", "roles/eventarc.eventReceiver", "roles/logging.logWriter"])
  project  = var.project
  role     = each.key
  member   = google_service_account.chain.member
}

resource "google_service_account_iam_member" "acts_as_jobs" {
  service_account_id = "projects/${var.project}/serviceAccounts/${var.job_account}"
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.chain.member
}

resource "google_storage_bucket_iam_member" "templates" {
  bucket = var.templates
  role   = "roles/storage.objectViewer"
  member = google_service_account.chain.member
}

resource "google_storage_bucket" "source" {
  name                        = "${var.project}-sync-chain-source"
  location                    = var.region
  uniform_bucket_level_access = true
  force_destroy               = true
}

data "archive_file" "source" {
  type        = "zip"
  source_dir  = "${path.module}/.."
  output_path = "${path.module}/.terraform/source.zip"
  excludes = [
    "__init__.py", "__main__.py", "chain.schema.json", "reading.py", "requirements.in", ".gcloudignore",
    "terraform/**", "**/__pycache__/**",
  ]
}

resource "google_storage_bucket_object" "source" {
  name   = "source-${data.archive_file.source.output_md5}.zip"
  bucket = google_storage_bucket.source.name
  source = data.archive_file.source.output_path
}

resource "google_cloudfunctions2_function" "chain" {
  name     = "sync-chain"
  location = var.region

  build_config {
    runtime     = "python313"
    entry_point = "on_event"
    source {
      storage_source {
        bucket = google_storage_bucket.source.name
        object = google_storage_bucket_object.source.name
      }
    }
  }

  service_config {
    available_memory      = "512Mi"
    max_instance_count    = 5
    timeout_seconds       = 300
    service_account_email = google_service_account.chain.email
    ingress_settings      = "ALLOW_ALL"
  }

  # An event that cannot be handled is delivered again for a day; handling one twice changes nothing.
  event_trigger {
    trigger_region        = var.region
    event_type            = "google.cloud.dataflow.job.v1beta3.statusChanged"
    retry_policy          = "RETRY_POLICY_RETRY"
    service_account_email = google_service_account.chain.email
  }

  depends_on = [google_project_service.apis, google_project_iam_member.chain]
}

# Triggers and timer call the service behind the function.
resource "google_cloud_run_service_iam_member" "invoker" {
  location = var.region
  service  = google_cloudfunctions2_function.chain.name
  role     = "roles/run.invoker"
  member   = google_service_account.chain.member
}

resource "google_cloud_scheduler_job" "start" {
  for_each  = var.schedules
  name      = "sync-chain-${each.key}"
  region    = var.region
  schedule  = each.value
  time_zone = var.time_zone

  retry_config {
    retry_count = 3
  }

  http_target {
    uri         = google_cloudfunctions2_function.chain.service_config[0].uri
    http_method = "POST"
    headers = {
      "Content-Type"   = "application/json"
      "ce-id"          = "scheduler"
      "ce-source"      = "//cloudscheduler.googleapis.com/sync-chain"
      "ce-specversion" = "1.0"
      "ce-type"        = "sync.chain.start"
    }
    body = base64encode(jsonencode({ chain = each.key }))
    oidc_token {
      service_account_email = google_service_account.chain.email
    }
  }
}

# Finds steps that are due and have not been started.
resource "google_cloud_scheduler_job" "check" {
  name      = "sync-chain-check"
  region    = var.region
  schedule  = "*/15 * * * *"
  time_zone = "UTC"

  http_target {
    uri         = google_cloudfunctions2_function.chain.service_config[0].uri
    http_method = "POST"
    headers = {
      "Content-Type"   = "application/json"
      "ce-id"          = "scheduler"
      "ce-source"      = "//cloudscheduler.googleapis.com/sync-chain"
      "ce-specversion" = "1.0"
      "ce-type"        = "sync.chain.check"
    }
    body = base64encode("{}")
    oidc_token {
      service_account_email = google_service_account.chain.email
    }
  }
}

resource "google_pubsub_topic" "ends" {
  count = var.use_log_sink ? 1 : 0
  name  = "sync-chain-ends"
}

# Only jobs whose names are those of a chain's jobs.
resource "google_logging_project_sink" "ends" {
  count                  = var.use_log_sink ? 1 : 0
  name                   = "sync-chain-ends"
  destination            = "pubsub.googleapis.com/${google_pubsub_topic.ends[0].id}"
  filter                 = "resource.type=\"dataflow_step\" AND textPayload=\"Worker pool stopped.\" AND resource.labels.job_name=~\"^[a-z0-9-]+--[a-z0-9-]+--[0-9]{8}t[0-9]{6}$\""
  unique_writer_identity = true
}

# Without this grant the sink writes nothing: its own account is not allowed to publish.
resource "google_pubsub_topic_iam_member" "sink_writer" {
  count  = var.use_log_sink ? 1 : 0
  topic  = google_pubsub_topic.ends[0].name
  role   = "roles/pubsub.publisher"
  member = google_logging_project_sink.ends[0].writer_identity
}

resource "google_eventarc_trigger" "ends" {
  count           = var.use_log_sink ? 1 : 0
  name            = "sync-chain-ends"
  location        = var.region
  service_account = google_service_account.chain.email

  matching_criteria {
    attribute = "type"
    value     = "google.cloud.pubsub.topic.v1.messagePublished"
  }

  destination {
    cloud_run_service {
      service = google_cloudfunctions2_function.chain.name
      region  = var.region
    }
  }

  transport {
    pubsub {
      topic = google_pubsub_topic.ends[0].id
    }
  }
}

output "uri" {
  description = "Where the function receives events."
  value       = google_cloudfunctions2_function.chain.service_config[0].uri
}
