# What service accounts may do: read, or store. Neither can remove a version.

locals {
  prefix  = var.prefix == "" ? "" : "${var.prefix}/"
  objects = "${aws_s3_bucket.this.arn}/${local.prefix}"
  # What can be made again from originals, and what `pacsless` tries the bucket out with.
  derived = ["${local.objects}metadata/*", "${local.objects}renditions/*"]
  probes  = ["${local.objects}.probe-*"]
}

data "aws_iam_policy_document" "read" {
  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = ["${local.objects}*"]
  }

  # Not narrowed to the prefix: then a missing object would be answered 403 and not 404.
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.this.arn]
  }

  statement {
    sid       = "Decrypt"
    actions   = ["kms:Decrypt"]
    resources = [var.kms_key_arn]
  }
}

data "aws_iam_policy_document" "store" {
  source_policy_documents = [data.aws_iam_policy_document.read.json]

  # Originals come with If-None-Match, so that even a faulty program replaces none.
  statement {
    sid       = "StoreNew"
    actions   = ["s3:PutObject"]
    resources = ["${local.objects}*"]

    condition {
      test     = "Null"
      variable = "s3:if-none-match"
      values   = ["false"]
    }
  }

  # Parts of an upload have no such header; completing it has.
  statement {
    sid       = "StoreParts"
    actions   = ["s3:PutObject"]
    resources = ["${local.objects}*"]

    condition {
      test     = "Bool"
      variable = "s3:ObjectCreationOperation"
      values   = ["false"]
    }
  }

  statement {
    sid       = "AbortUpload"
    actions   = ["s3:AbortMultipartUpload"]
    resources = ["${local.objects}*"]
  }

  statement {
    sid       = "Replace"
    actions   = ["s3:PutObject"]
    resources = concat(local.derived, ["${local.objects}tombstones/*"])
  }

  statement {
    sid       = "Remove"
    actions   = ["s3:DeleteObject"]
    resources = var.allow_delete ? ["${local.objects}*"] : concat(local.derived, local.probes)
  }

  statement {
    sid       = "Encrypt"
    actions   = ["kms:GenerateDataKey"]
    resources = [var.kms_key_arn]
  }
}
